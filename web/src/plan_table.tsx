// All numbers of the plan: the table, the same as a file, and why a method has none.
import { useMemo } from "preact/hooks";
import type { Cell, PlanAbout, PlanRow, Table as TableOf } from "./documents";
import { Table } from "./parts";
import { countText, fits, remedy, sizeText } from "./plan_text";
import type { Eased, Memory } from "./plan_text";
import { csv, saveText } from "./save";

type Part = PlanAbout["parts"][number];
type Props = { rows: PlanRow[]; parts: Part[]; memory: Memory; eased: Eased; name: string };

const NO_MARKS = {};
const PHASES = { train: "training", eval: "scoring" };
const yes = (row: PlanRow, memory: Memory) => (row.peak === null ? "–" : fits(row, memory) ? "yes" : "no");

function tableOf(rows: PlanRow[], parts: Part[], memory: Memory, eased: Eased): TableOf {
  const needed = rows.some((row) => remedy(row, memory, eased) !== "");
  const heads = ["method", "peak", "fits", ...(needed ? ["what would make it fit"] : []), "trained parameters", "checkpoint", ...parts.map((p) => p.label), "highest in"];
  const bytes = (value: number | null): Cell => ({ text: sizeText(value), sort: value });
  return {
    headings: heads.map((text) => ({ text, sort: null })),
    rows: rows.map((row): Cell[] => [
      { text: row.method, sort: row.method, method: row.method }, bytes(row.peak), { text: yes(row, memory), sort: null },
      ...(needed ? [{ text: remedy(row, memory, eased), sort: null }] : []), { text: countText(row.trainable), sort: row.trainable }, bytes(row.checkpoint_bytes),
      ...parts.map((_, i) => bytes(row.peak === null ? null : row.parts[i] ?? null)), { text: row.peak === null ? "–" : PHASES[row.phase], sort: null },
    ]),
  };
}

/** The table with its numbers whole, in bytes. */
function fileOf(rows: PlanRow[], parts: Part[], memory: Memory, eased: Eased): string {
  const heads = ["method", "peak (bytes)", `fits ${memory.label}`, "what would make it fit", "trained parameters", "checkpoint (bytes)",
    ...parts.map((p) => `${p.label} (bytes)`), "highest in", "reason"];
  return csv([heads, ...rows.map((row) => [
    row.method, row.peak, row.peak === null ? null : yes(row, memory), remedy(row, memory, eased), row.trainable, row.checkpoint_bytes,
    ...parts.map((_, i) => (row.peak === null ? null : row.parts[i] ?? null)), row.peak === null ? null : PHASES[row.phase], row.reason,
  ])]);
}

export function PlanNumbers({ rows, parts, memory, eased, name }: Props) {
  const ordered = useMemo(
    () => rows.filter((row) => row.peak !== null).sort((a, b) => a.peak! - b.peak! || a.method.localeCompare(b.method)), [rows]);
  const reasons = useMemo(() => rows.filter((row) => row.peak === null || row.reason), [rows]);
  const table = useMemo(() => tableOf(ordered, parts, memory, eased), [ordered, parts, memory, eased]);
  const all = [...ordered, ...rows.filter((row) => row.peak === null)];
  return (
    <>
      <section id="plan-numbers">
        <h2>All numbers</h2>
        <div class="controls">
          <button type="button" onClick={() => saveText(`${name}.csv`, fileOf(all, parts, memory, eased), "text/csv")}>CSV</button>
        </div>
        {ordered.length > 0 ? <Table table={table} caption="Methods" marks={NO_MARKS} id="plan-table" /> : <p class="quiet">No method that is shown has numbers.</p>}
      </section>
      <Remarks rows={rows} />
      {reasons.length > 0 && (
        <section id="plan-reasons">
          <h2>Not counted</h2>
          <ul>{reasons.map((row) => <li><strong>{row.method}</strong>: {withoutName(row.reason ?? "no reason is known", row.method)}</li>)}</ul>
        </section>
      )}
    </>
  );
}

const withoutName = (text: string, method: string) => (text.startsWith(`${method}: `) ? text.slice(method.length + 2) : text);

/** What libraries said while a method was counted; the same words of several methods once. */
function Remarks({ rows }: { rows: PlanRow[] }) {
  const found = new Map<string, string[]>();
  for (const row of rows)
    for (const note of row.notes) {
      const text = withoutName(note, row.method);
      found.set(text, [...(found.get(text) ?? []), row.method]);
    }
  if (!found.size) return null;
  return (
    <details>
      <summary>Notes on single methods</summary>
      <ul>{[...found].map(([text, methods]) => <li><strong>{methods.join(", ")}</strong>: {text}</li>)}</ul>
    </details>
  );
}
