// Methods of the cart side by side.
import { sizeText } from "./plan_text";
import type { ComponentChildren } from "preact";
import type { Able, Card, Shop } from "./documents";
import { Note, Scroll } from "./parts";
import { Paper, SAID, SIGN } from "./shop_card";
import { fitOf } from "./shop_memory";
import type { Memory } from "./shop_memory";
import type { Change, State } from "./state";

const MOST = 8;
const NONE = "–";

/** `told` is what two cells are compared by. */
type Cell = { told: string; shown?: ComponentChildren };
type Row = { title: string; about?: string; cells: Cell[] };
type Block = { title: string; rows: Row[] };

/** Reasons are long and columns narrow. */
const Why = ({ able, reason, of }: { able: Able; reason: string; of: string }) => (
  <details><summary>{able === "yes" ? "note" : "why"}<span class="unseen">: {of}</span></summary><small>{reason}</small></details>
);

const differs = (row: Row): boolean => new Set(row.cells.map((c) => c.told)).size > 1;

export function Comparison({ shop, cards, memory, state, change }: {
  shop: Shop; cards: Card[]; memory: Memory; state: State; change: (values: Change) => void;
}) {
  const shown = cards.slice(0, MOST);
  const only = state.get("diff") === "1";
  const all = [described(shop, shown, memory), ...shop.groups.map((group) => ableIn(shop, shown, group))];
  const blocks = all.map((b) => ({ ...b, rows: b.rows.filter((row) => !only || differs(row)) })).filter((b) => b.rows.length);
  const [rows, differing] = [all.flatMap((b) => b.rows).length, all.flatMap((b) => b.rows.filter(differs)).length];
  return (
    <>
      <h3>Side by side</h3>
      {cards.length > MOST && <Note>The first {MOST} are compared; not {cards.slice(MOST).map((c) => c.title).join(", ")}.</Note>}
      <form class="controls" aria-label="Rows of the comparison" onSubmit={(event) => event.preventDefault()}>
        <label><input type="checkbox" checked={only} onChange={() => change({ diff: only ? undefined : "1" })} />only differences</label>
        <span class="quiet" role="status">{differing} of {rows} rows differ; they are marked ≠.</span>
      </form>
      <Scroll label="Methods side by side">
        <table class="side features" id="features">
          <thead><tr><th scope="col">feature</th>{shown.map((c) => <th scope="col">{c.title}</th>)}</tr></thead>
          {blocks.map((block) => (
            <tbody>
              <tr class="block"><th scope="rowgroup" colSpan={1 + shown.length}>{block.title}</th></tr>
              {block.rows.map((row) => <RowOf row={row} />)}
            </tbody>
          ))}
        </table>
      </Scroll>
    </>
  );
}

function RowOf({ row }: { row: Row }) {
  const marked = differs(row);
  return (
    <tr class={marked ? "differs" : ""}>
      <th scope="row" title={row.about}>{row.title}{marked && <><span aria-hidden="true"> ≠</span><span class="unseen">, differs</span></>}</th>
      {row.cells.map((cell) => <td>{cell.shown ?? cell.told}</td>)}
    </tr>
  );
}

/** What words and figures say of them. */
function described(shop: Shop, cards: Card[], memory: Memory): Block {
  const row = (title: string, of: (card: Card) => string | null | undefined): Row =>
    ({ title, cells: cards.map((card) => ({ told: of(card) || NONE })) });
  const rows: Row[] = [
    row("family", (c) => c.family),
    ...shop.tasks.map((task) => ({ ...row(`${task.axis.label}, ${task.title}`, (c) => c.measured[task.key]?.text ?? "no published result"), about: task.about })),
    ...(memory.rows.size ? [memoryRow(cards, memory)] : []),
    row("default learning rate", (c) => c.rate),
    { title: "paper", cells: cards.map((c) => ({ told: c.paper?.title ?? NONE, shown: c.paper ? <Paper paper={c.paper} /> : NONE })) },
    row("year", (c) => c.paper && String(c.paper.year)),
    row("variant of", (c) => shop.cards.find((other) => other.name === c.variant_of)?.title ?? c.variant_of),
    row("needs", (c) => c.needs.join("; ")),
    row("limits", (c) => c.limits.join("; ")),
    row("not trained here", (c) => c.refused),
    row("adoption", (c) => c.adoption),
  ];
  return { title: "the method", rows: rows.filter((r) => r.cells.some((c) => c.told !== NONE)) };
}

const memoryRow = (cards: Card[], memory: Memory): Row => ({
  title: `memory on ${memory.title}, ${memory.window}`,
  cells: cards.map((card) => {
    const [row, fit] = [memory.rows.get(card.name), fitOf(memory, card.name)];
    const told = row && row.peak !== null ? sizeText(row.peak) : `not known: ${row?.reason ?? "not counted"}`;
    return { told, shown: <>{told}{fit && <small>{fit.text}</small>}</> };
  }),
});

function ableIn(shop: Shop, cards: Card[], group: Shop["groups"][number]): Block {
  const own = shop.capabilities.filter((c) => c.group === group.name);
  return {
    title: group.title,
    rows: own.map((capability) => ({
      title: capability.title,
      about: capability.about,
      cells: cards.map((card) => {
        const able = card.able[capability.name] ?? "unknown";
        const [reason, figure] = [card.reasons[capability.name], card.figures[capability.name]];
        const shown = <><span class={`sign ${able}`} aria-hidden="true">{SIGN[able]}</span> {SAID[able]}{figure && `, ${figure}`}{reason && <Why able={able} reason={reason} of={`${capability.title}, ${card.title}`} />}</>;
        return { told: group.name === "costs" ? `${able} ${figure ?? ""}` : able, shown };
      }),
    })),
  };
}
