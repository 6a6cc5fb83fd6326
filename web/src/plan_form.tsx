// The questions of the plan: which model, under which circumstances, on which card.
import { useEffect, useState } from "preact/hooks";
import { isLive } from "./documents";
import type { PlanModels } from "./documents";
import { PlanUpload } from "./plan_upload";
import { DTYPES, QUANTIZATIONS } from "./plan_state";
import type { Config, Wanted } from "./plan_state";
import { sizeText } from "./plan_text";
import type { Change } from "./state";

type Props = {
  models: PlanModels; wanted: Wanted; config: Config | null; setConfig: (config: Config) => void; again: () => void;
  choosable: boolean; change: (values: Change) => void;
};
const OTHER_AMOUNT = "16GB";
const ADDRESS = /^https?:\/\/(www\.)?(huggingface\.co|hf\.co)\//;
const PLACES = { "*hub": "hub", "*file": "file" } as const;

export function PlanForm({ models, wanted, config, setConfig, again, choosable, change }: Props) {
  const live = isLive();
  return (
    <form class="plan" aria-label="What is planned" onSubmit={(event) => event.preventDefault()}>
      <div class="controls">
        <ModelSelect models={models} wanted={wanted} change={change} />
        <CardSelect models={models} wanted={wanted} change={change} />
        <label>methods{" "}
          <select value={wanted.all ? "all" : "types"} disabled={!choosable} onChange={(event) => change({ methods: event.currentTarget.value })}>
            <option value="types" selected={!wanted.all}>one per peft type</option>
            <option value="all" selected={wanted.all}>all, with variants</option>
          </select>
        </label>
      </div>
      {wanted.from === "known" && wanted.model && <p class="quiet">{wanted.model.about}</p>}
      {wanted.from === "hub" && <HubId wanted={wanted} again={again} change={change} />}
      {wanted.from === "file" && <PlanUpload config={config} onConfig={setConfig} />}
      {live ? <CircumstancesOf wanted={wanted} change={change} /> : <p class="quiet">{models.live_only}</p>}
    </form>
  );
}

function ModelSelect({ models, wanted, change }: Pick<Props, "models" | "wanted" | "change">) {
  const chosen = wanted.from === "known" ? wanted.model?.key ?? "" : `*${wanted.from}`;
  const choose = (value: string) =>
    change(value in PLACES ? { from: PLACES[value as keyof typeof PLACES] } : { on: value, from: undefined, hub: undefined });
  const option = (value: string, title: string) => <option value={value} selected={value === chosen}>{title}</option>;
  return (
    <label>model{" "}
      <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
        {models.models.map((model) => option(model.key, model.title))}
        {isLive() && <>{option("*hub", "one of the hub, by its id…")}{option("*file", "a config.json of mine…")}</>}
      </select>
    </label>
  );
}

function CardSelect({ models, wanted, change }: Pick<Props, "models" | "wanted" | "change">) {
  const { memory } = wanted;
  const isCard = models.gpus.some((gpu) => gpu.name === memory.name);
  const [amount, unit] = isCard ? ["", ""] : [memory.name.replace(/[A-Za-z]+$/, ""), memory.name.replace(/^[\d.]+/, "")];
  return (
    <>
      <label>card{" "}
        <select value={isCard ? memory.name : ""} onChange={(event) => change({ gpu: event.currentTarget.value || OTHER_AMOUNT })}>
          {models.gpus.map((gpu) => <option value={gpu.name} selected={gpu.name === memory.name} title={`${sizeText(gpu.bytes)} are free`}>{gpu.label}</option>)}
          <option value="" selected={!isCard}>other…</option>
        </select>
      </label>
      {!isCard && (
        <label>memory in {unit}{" "}
          <NumberField value={amount} least={0.1} step="any" onValue={(value) => change({ gpu: `${value}${unit}` })} />
        </label>
      )}
    </>
  );
}

function CircumstancesOf({ wanted, change }: Pick<Props, "wanted" | "change">) {
  const { batch_size, seq_len, dtype, quantization, checkpointing } = wanted.circumstances;
  return (
    <fieldset class="picker">
      <legend>Circumstances</legend>
      <label>batch size <NumberField value={String(batch_size)} least={1} step="1" onValue={(value) => change({ batch: value })} /></label>
      <label title="Tokens in the longest sequence, or pixels of an image's side">length <NumberField value={String(seq_len)} least={2} step="1" onValue={(value) => change({ length: value })} /></label>
      <label>dtype{" "}
        <select value={dtype} onChange={(event) => change({ dtype: event.currentTarget.value })}>
          {DTYPES.map((name) => <option value={name} selected={name === dtype}>{name}</option>)}
        </select>
      </label>
      <label>base quantized{" "}
        <select value={quantization ?? ""} onChange={(event) => change({ quant: event.currentTarget.value || undefined })}>
          <option value="" selected={quantization === null}>not</option>
          {QUANTIZATIONS.map((name) => <option value={name} selected={name === quantization}>{name}</option>)}
        </select>
      </label>
      <label>
        <input type="checkbox" checked={checkpointing} onChange={() => change({ ckpt: checkpointing ? undefined : "1" })} />activation checkpointing
      </label>
    </fieldset>
  );
}

/** A number that counts once it is whole: with Enter, an arrow, or when the field is left. */
function NumberField({ value, least, step, onValue }: { value: string; least: number; step: string; onValue: (value: string) => void }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return (
    <input type="number" required min={least} step={step} value={draft} inputMode="decimal" onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={(event) => {
        const field = event.currentTarget;
        if (!field.reportValidity()) return;
        const next = String(field.valueAsNumber);
        if (next !== value) onValue(next);
      }} />
  );
}

function HubId({ wanted, again, change }: Pick<Props, "wanted" | "again" | "change">) {
  const [draft, setDraft] = useState(wanted.hub);
  useEffect(() => setDraft(wanted.hub), [wanted.hub]);
  const take = () => {
    const given = draft.trim().replace(ADDRESS, "").replace(/\/+$/, "");  // the address of a model's page is taken, too
    if (given === wanted.hub) again();
    else change({ hub: given || undefined });
  };
  return (
    <div class="controls">
      <label>hub id{" "}
        <input type="text" class="id" value={draft} placeholder="owner/model" autocomplete="off" spellcheck={false} onInput={(event) => setDraft(event.currentTarget.value)}
          onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); take(); } }} />
      </label>
      <button type="button" onClick={take}>Count</button>
      <span class="quiet">Its config alone is fetched from the hub.</span>
    </div>
  );
}
