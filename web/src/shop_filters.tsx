// What is searched for and what methods have to be able to do.
import { useRef, useState } from "preact/hooks";
import type { Shop } from "./documents";
import { count } from "./parts";
import { NOTHING_WANTED } from "./shop_choice";
import type { Sort, Wanted } from "./shop_choice";
import { NO_MODEL } from "./shop_memory";
import type { Memory } from "./shop_memory";
import type { Change } from "./state";

const OPEN_GROUPS = ["adapters", "quantized", "serving"];
const WIDE = "(min-width: 761px)";

type Props = { shop: Shop; wanted: Wanted; change: (values: Change) => void };

/** Beside the cards; at narrow width to be opened. */
export function Filters({ shop, wanted, change }: Props) {
  const [wide] = useState(() => matchMedia(WIDE).matches);
  const set = Object.values({ ...wanted, can: "", find: "" }).filter(Boolean).length + wanted.can.length;
  const commonest = (name: string) => Number(!OPEN_GROUPS.includes(name));
  const groups = [...shop.groups].sort((a, b) => commonest(a.name) - commonest(b.name));
  return (
    <details class="filters" open={wide}>
      <summary><h2>Filters</h2>{set > 0 && <span class="quiet"> ({set} set)</span>}</summary>
      <form aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
        <label>trains on{" "}
          <select value={wanted.modality} onChange={(event) => change({ modality: event.currentTarget.value || undefined })}>
            <option value="" selected={!wanted.modality}>anything</option>
            {shop.modalities.map((m) => <option value={m.name} selected={m.name === wanted.modality}>{m.label}</option>)}
          </select>
        </label>
        <label>family{" "}
          <select value={wanted.family} onChange={(event) => change({ family: event.currentTarget.value || undefined })}>
            <option value="" selected={!wanted.family}>all {shop.families.length}</option>
            {shop.families.map((f) => <option value={f} selected={f === wanted.family}>{f} ({shop.cards.filter((c) => c.family === f).length})</option>)}
          </select>
        </label>
        <label class="tick"><input type="checkbox" checked={wanted.trains} onChange={() => change({ trains: wanted.trains ? undefined : "1" })} />only what can be trained</label>
        <p class="quiet">It has to have been seen to do all that is ticked; in brackets, how many methods do.</p>
        <Explained shop={shop} groups={groups} />
        {groups.map((group) => <Group key={group.name} group={group} shop={shop} wanted={wanted} change={change} />)}
      </form>
    </details>
  );
}

/** How each capability was tried. */
function Explained({ shop, groups }: { shop: Shop; groups: Shop["groups"] }) {
  const [open, set] = useState(false);
  return (
    <details onToggle={(event) => set(event.currentTarget.open)}>
      <summary>how each was tried</summary>
      {open && groups.map((group) => (
        <dl class="explained">
          {shop.capabilities.filter((c) => c.group === group.name).map((c) => <div><dt>{c.title}</dt><dd>{c.about}</dd></div>)}
        </dl>
      ))}
    </details>
  );
}

function Group({ group, shop, wanted, change }: Props & { group: Shop["groups"][number] }) {
  const own = shop.capabilities.filter((c) => c.group === group.name);
  const ticked = own.filter((c) => wanted.can.includes(c.name)).length;
  const [open] = useState(OPEN_GROUPS.includes(group.name) || ticked > 0);
  const toggle = (name: string) => {
    const next = wanted.can.includes(name) ? wanted.can.filter((n) => n !== name) : [...wanted.can, name];
    change({ can: next.join(",") || undefined });
  };
  if (!own.length) return null;
  return (
    <details open={open}>
      <summary>{group.title}{ticked > 0 && <span class="quiet"> ({ticked} set)</span>}</summary>
      <fieldset>
        <legend class="unseen">{group.title}</legend>
        {own.map((c) => (
          <label class="tick" title={c.about}>
            <input type="checkbox" checked={wanted.can.includes(c.name)} onChange={() => toggle(c.name)} />
            {c.title} <span class="quiet">({shop.cards.filter((card) => card.able[c.name] === "yes").length})</span>
          </label>
        ))}
      </fieldset>
    </details>
  );
}

type Above = Props & { sorts: Sort[]; sort: string; memory: Memory; shown: number; missing: number };

/** Above the cards: the search, the order, and what memory is shown of. */
export function Controls({ shop, wanted, sorts, sort, memory, shown, missing, change }: Above) {
  const search = useRef<HTMLInputElement>(null);
  const clear = () => {
    change(NOTHING_WANTED);
    search.current?.focus();
  };
  const asked = Object.values({ ...wanted, can: wanted.can.join() }).some(Boolean);
  return (
    <form class="controls shopping" aria-label="Search and order" onSubmit={(event) => event.preventDefault()}>
      <label class="find">search{" "}
        <input type="search" ref={search} value={wanted.find} placeholder="name, idea, family, paper" autocomplete="off" spellcheck={false}
          onInput={(event) => change({ find: event.currentTarget.value || undefined })} />
      </label>
      <p class="hits">
        <span role="status">{shown === shop.cards.length ? count(shown, "method") : `${shown} of ${count(shop.cards.length, "method")}`}{missing > 0 && `, the last ${missing} without such a figure`}</span>{" "}
        {asked && <button type="button" onClick={clear}>Clear the filters</button>}
      </p>
      <label>sorted by{" "}
        <select value={sort} onChange={(event) => change({ sort: event.currentTarget.value === "name" ? undefined : event.currentTarget.value })}>
          {sorts.map((s) => <option value={s.key} selected={s.key === sort}>{s.label}</option>)}
        </select>
      </label>
      {memory.models && <MemorySelects memory={memory} models={memory.models} change={change} />}
    </form>
  );
}

/** Which model is the matter of other views, too; that none is shown is the shop's alone. */
const onModel = (value: string): Change => (value === NO_MODEL ? { memory: NO_MODEL } : { on: value, memory: undefined });

function MemorySelects({ memory, models, change }: { memory: Memory; models: NonNullable<Memory["models"]>; change: (values: Change) => void }) {
  return (
    <>
      <label>memory on{" "}
        <select value={memory.on ?? NO_MODEL} onChange={(event) => change(onModel(event.currentTarget.value))}>
          {models.models.map((m) => <option value={m.key} selected={m.key === memory.on} title={m.about}>{m.title}</option>)}
          <option value={NO_MODEL} selected={memory.on === null}>no model</option>
        </select>
      </label>
      <label>held against{" "}
        <select value={memory.gpu?.name ?? ""} disabled={memory.on === null} onChange={(event) => change({ gpu: event.currentTarget.value || undefined })}>
          <option value="" selected={!memory.gpu}>no graphics card</option>
          {models.gpus.map((g) => <option value={g.name} selected={g === memory.gpu}>{g.label}</option>)}
        </select>
      </label>
    </>
  );
}
