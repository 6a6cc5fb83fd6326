// What each method takes on a model, and whether it fits the card.
import { useEffect, useMemo, useState } from "preact/hooks";
import { isLive } from "./documents";
import type { PlanModels, PlanRow, Shop } from "./documents";
import { Code, count, Note, Problem, Waiting } from "./parts";
import { isCut, PlanBars } from "./plan_bars";
import { PlanForm } from "./plan_form";
import { OWN, requestOf, wantedIn, wordsOf } from "./plan_state";
import type { Config, Wanted } from "./plan_state";
import { PlanNumbers } from "./plan_table";
import { command, fits, summary } from "./plan_text";
import type { Change, Place } from "./state";
import { useDocument } from "./use_document";
import { sameOnEachCard, usePlan } from "./use_plan";
import type { Planned } from "./use_plan";

/** The config that was given last, for whoever goes elsewhere and comes back. */
let last: Config | null = null;
/** What was asked then, beside what every view shares. */
let left: Change = {};

/** What an address needs to come back to what was asked last. */
export const leftPlan = (): Change => left;

export function PlanView(props: Place) {
  const [turn, next] = useState(0);
  const models = useDocument<PlanModels>("plan/models", turn);
  useEffect(() => {
    if (isLive()) fetch("api/plan/ahead").catch(() => undefined);  // what counts takes seconds to start
  }, []);
  if (models.problem) return <><h1>Plan</h1><Problem text={models.problem} again={() => next((n) => n + 1)} /></>;
  if (!models.value) return <><h1>Plan</h1><Waiting text="Loading…" /></>;
  return <Plan {...props} models={models.value} />;
}

function Plan({ state, change, models }: Place & { models: PlanModels }) {
  const [turn, next] = useState(0);
  const [config, setConfig] = useState<Config | null>(last);
  left = Object.fromEntries(OWN.map((key) => [key, state.get(key)]));
  const again = () => next((n) => n + 1);
  const wanted = useMemo(() => wantedIn(state, models), [state, models]);
  const asked = sameOnEachCard(requestOf(wanted, config && { name: config.name, content: {} }));
  const request = useMemo(() => requestOf(wanted, config), [asked, config, turn]);
  const planned = usePlan(wanted.ready ? wanted.model?.key ?? null : null, request, turn);
  const sizesFor = planned.memory !== wanted.memory.name ? planned.memory : null;
  const shop = useDocument<Shop>(planned.rows.length ? "shop" : null).value;
  return (
    <>
      <h1>What does each method take, and does it fit?</h1>
      <p>
        Counted from the model's config alone: nothing of its weights is fetched, and nothing is trained. A card's memory is what its driver
        and a process's context leave free.
      </p>
      {wanted.problems.map((text) => <Note>{text}</Note>)}
      <PlanForm models={models} wanted={wanted} config={config} again={again} choosable={!wanted.ready || shop !== null}
        setConfig={(given) => { last = given; setConfig(given); }} change={change} />
      <Answer wanted={wanted} planned={planned} sizesFor={sizesFor} shop={shop} again={again} state={state} change={change} />
      <section id="plan-command">
        <h2>The same at the terminal</h2>
        <Code text={command(wordsOf(wanted, config))} label="The command" />
      </section>
    </>
  );
}

type AnswerProps = Pick<Place, "state" | "change"> & {
  wanted: Wanted; planned: Planned; shop: Shop | null; again: () => void;
  /** The memory that the smaller batches and lengths were counted for, where it is not the one that is chosen now. */
  sizesFor: string | null;
};

function Answer({ wanted, planned, sizesFor, shop, again, state, change }: AnswerProps) {
  const { about, problem, state: progress } = planned;
  const { memory } = wanted;
  const cards = useMemo(() => new Map(shop?.cards.map((card) => [card.name, card])), [shop]);
  const [find, family, only] = [state.get("find")?.trim().toLowerCase() ?? "", state.get("family") ?? "", state.get("only") === "1"];
  const offered = useMemo(() => {
    if (sizesFor !== null) return planned.rows.map(withoutSizes);
    return wanted.ready && !wanted.all && shop ? planned.rows.filter((row) => !cards.get(row.method)?.variant_of) : planned.rows;
  }, [planned.rows, sizesFor, wanted.ready, wanted.all, shop, cards]);
  const shown = useMemo(
    () => offered.filter((row) => {
      const card = cards.get(row.method);
      const words = [row.method, card?.title, card?.family].join(" ").toLowerCase();
      return words.includes(find) && (!family || !shop || card?.family === family) && (!only || fits(row, memory));
    }),
    [offered, cards, shop, find, family, only, memory],
  );
  const eased = useMemo(
    () => ({ checkpointing: wanted.circumstances.checkpointing, packed: wanted.circumstances.quantization !== null }),
    [wanted.circumstances.checkpointing, wanted.circumstances.quantization],
  );
  const families = (shop?.families ?? []).filter((name) => offered.some((row) => cards.get(row.method)?.family === name));
  const title = about?.title ?? wanted.model?.title ?? "";
  const counted = shown.filter((row) => row.peak !== null).length;
  return (
    <>
      <h2>{about ? about.title : "Peak memory"}</h2>
      <div role="status">{told(wanted, planned, offered).map((text, i) => <p class={i ? "quiet" : "summary"}>{text}</p>)}</div>
      {(progress === "waiting" || progress === "counting") && isLive() && !wanted.ready && <Progress planned={planned} />}
      {problem !== null && <Problem text={problem} again={again} />}
      {progress === "stopped" && <p><button type="button" onClick={again}>Count again</button></p>}
      {about && <p class="quiet">{[about.source, ...about.lines.filter((line) => !isSentence(line))].join(" · ")}</p>}
      {about?.lines.filter(isSentence).map((line) => <p class="quiet">{line}</p>)}
      {about?.notes.map((note) => <Note>{note}</Note>)}
      {sizesFor !== null && progress === "done" && offered.some((row) => row.peak !== null && !fits(row, memory)) && (
        <Note>Which smaller batch or shorter length would fit was counted for {sizesFor} and is not shown. <button type="button" onClick={again}>Count it for this card</button></Note>
      )}
      {about && planned.rows.length > 0 && (
        <>
          <div class="controls" role="group" aria-label="Which methods are shown">
            <label>find <input type="search" value={state.get("find") ?? ""} onInput={(event) => change({ find: event.currentTarget.value || undefined })} /></label>
            {families.length > 1 && (
              <label>family{" "}
                <select value={family} onChange={(event) => change({ family: event.currentTarget.value || undefined })}>
                  <option value="" selected={!family}>all</option>
                  {families.map((name) => <option value={name} selected={name === family}>{name}</option>)}
                </select>
              </label>
            )}
            <label><input type="checkbox" checked={only} onChange={() => change({ only: only ? undefined : "1" })} />only what fits</label>
            <span class="quiet">{shown.length === offered.length ? "" : `${shown.length} of ${count(offered.length, "method")} shown`}</span>
          </div>
          {counted > 0 ? (
            <figure>
              <PlanBars rows={shown} parts={about.parts} memory={memory} label={`Peak memory of ${count(counted, "method")} on ${title}, smallest first`} />
              <figcaption>Peak of training or scoring, whichever is higher, and what it is made of at that moment. Parts lie in the order of the legend; what is beyond the line does not fit.{isCut(shown, memory) && " Bars with a jagged end go on beyond the figure; their number stands beside them."}</figcaption>
            </figure>
          ) : <Note>{offered.some((row) => row.peak !== null) ? "No method passes these filters." : "None of these methods has numbers."}</Note>}
          <PlanNumbers rows={shown} parts={about.parts} memory={memory} eased={eased} name={fileName(title)} />
        </>
      )}
    </>
  );
}

const withoutSizes = (row: PlanRow): PlanRow => ({ ...row, largest_batch: null, largest_seq_len: null, batch_with_both: null });
const isSentence = (line: string) => line.endsWith(".");
const fileName = (title: string) => `plan-${title.replaceAll(/[^\w.-]+/g, "-")}`;

/** The answer in a sentence, or why there is none yet; then what is missing in it. */
function told(wanted: Wanted, planned: Planned, rows: PlanRow[]): string[] {
  const { state, total } = planned;
  if (state === "nothing")
    return [wanted.from === "hub" ? "Give the id of a model of the hub." : wanted.from === "file" ? "Choose a config.json." : "There is no model here."];
  if (state === "waiting") return [wanted.ready ? "Loading…" : "Reading the model's config…"];
  if (state === "counting") return ["Counting; methods are drawn as they come."];
  if (!rows.length) return [planned.problem !== null ? "Nothing was counted." : state === "stopped" ? "Stopped before a method was counted." : "There is no method here."];
  const missing = rows.filter((row) => row.peak === null).length;
  const broken = state === "stopped" || planned.problem !== null;
  return [
    ...(broken ? [`Stopped after ${rows.length} of ${total ?? "all"} methods.`] : []),
    summary(rows, wanted.memory),
    ...(missing ? [`${count(missing, "method")} could not be counted; the reasons stand below.`] : []),
  ];
}

function Progress({ planned }: { planned: Planned }) {
  const { rows, total, stop } = planned;
  return (
    <div class="controls">
      <progress aria-label="Methods counted" max={total ?? 1} value={total === null ? undefined : rows.length} />
      {total !== null && <span>{rows.length} of {count(total, "method")} counted{rows.length < 2 ? ": the first takes longest, a quarter of a minute or so" : ""}</span>}
      <button type="button" onClick={stop}>Stop</button>
    </div>
  );
}
