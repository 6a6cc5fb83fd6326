// The verdict on every two methods.
import { useRef, useState } from "preact/hooks";
import type { Study } from "./documents";
import { Mark } from "./marks";
import { shorten, Table } from "./parts";
import type { Change } from "./state";

export function PairsSection({ study, href }: { study: Study; href: (view: string, values?: Change) => string }) {
  const { matrix, margin, table } = study.pairs;
  const [said, say] = useState("");
  const [at, go] = useState<[number, number]>([0, 0]);
  const body = useRef<HTMLTableSectionElement>(null);
  const key = (event: KeyboardEvent) => {
    const step = ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] } as Record<string, [number, number]>)[event.key];
    if (!step || !matrix) return;
    const last = matrix.names.length - 1;
    const next: [number, number] = [Math.min(Math.max(at[0] + step[0], 0), last), Math.min(Math.max(at[1] + step[1], 0), last)];
    event.preventDefault();
    go(next);
    body.current?.rows[next[0]]?.querySelectorAll("td")[next[1]]?.focus();
  };
  if (!matrix)
    return (
      <section id="pairs"><h2 tabIndex={-1}>Every two methods</h2>
        <p class="quiet">No two methods can be compared: that takes scores of the same test examples from both.</p>
      </section>
    );
  return (
    <section id="pairs">
      <h2 tabIndex={-1}>Every two methods</h2>
      <p>
        Row against column, on the same test examples. <span class="key better">▲ better</span> <span class="key worse">▼ worse</span>{" "}
        <span class="key equivalent">= equivalent</span>, that is {margin ? `within ${margin}` : "within a margin you give with --margin"},{" "}
        <span class="key undecided">? undecided</span>: not enough evidence for either, which is not the same as equivalent. Intervals are each pair's own, verdicts allow for all pairs at once: an undecided pair's interval may leave out zero.{" "}
        <a class="screen" href={href("compare")}>Compare some side by side</a>.
      </p>
      <p class="pairtext" aria-live="polite">{said || "Point at a cell, or reach the table with Tab and walk it with the arrow keys."}</p>
      <div class="scroll" role="region" aria-label="Verdicts on pairs">
        <table id="matrix" class={`matrix${matrix.names.length > 14 ? " dense" : ""}`} onKeyDown={key}>
          <thead><tr><td />{matrix.names.map((n) => <th scope="col"><span title={n}>{shorten(n)}</span></th>)}</tr></thead>
          <tbody ref={body}>
            {matrix.rows.map((row, i) => (
              <tr>
                <th scope="row" title={row.method}><Mark mark={study.methods[row.method]} />{shorten(row.method)}</th>
                {row.cells.map((c, j) => (
                  <td class={c.verdict} tabIndex={i === at[0] && j === at[1] ? 0 : -1} title={c.text || undefined} aria-label={c.text || "the same method"}
                    onFocus={() => say(c.text)} onMouseEnter={() => c.text && say(c.text)}>{c.sign}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details><summary>All {table.rows.length} pairs as a list</summary>
        <Table table={table} caption="Pairs: first minus second, positive where the first is better" marks={study.methods} id="pair-table" />
      </details>
    </section>
  );
}
