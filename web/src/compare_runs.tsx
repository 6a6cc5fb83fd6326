// Two to five runs side by side: single figures, which have no interval.
import { useEffect, useState } from "preact/hooks";
import { OneCourse } from "./curves";
import { documentName, load } from "./documents";
import type { RunDetails } from "./documents";
import { count, Scroll, sideBySide } from "./parts";

export function CompareRuns({ ids, name }: { ids: string[]; name: string }) {
  const [runs, set] = useState<RunDetails[] | null>(null);
  const [problem, report] = useState("");
  useEffect(() => {
    let current = true;
    set(null);
    report("");
    Promise.all(ids.map((id) => load<RunDetails>(documentName(name, "run", id))))
      .then((found) => current && set(found))
      .catch((error: Error) => current && report(error.message));
    return () => { current = false; };
  }, [ids.join("\n"), name]);
  if (problem) return <p class="note" role="alert">{problem}</p>;
  if (!runs) return <p class="quiet" role="status">Reading the records…</p>;
  const figures = sideBySide(runs.map((r) => r.sections.filter((s) => s.title === "quality" || s.title === "cost").flatMap((s) => s.lines)));
  const settings = sideBySide(runs.map((r) => r.settings)).filter(([, values]) => new Set(values).size > 1);
  const examples = [...new Set(runs.flatMap((r) => r.outputs.map((o) => o.id)))]
    .map((id) => ({ id, outputs: runs.map((r) => r.outputs.find((o) => o.id === id)) }))
    .filter((e) => new Set(e.outputs.map((o) => o?.score)).size > 1);
  const head = (first: string) => <thead><tr><th scope="col">{first}</th>{runs.map((r) => <th scope="col">{r.title}</th>)}</tr></thead>;
  const rows = (lines: [string, (string | undefined)[]][]) => (
    <tbody>{lines.map(([key, values]) => <tr><th scope="row">{key}</th>{values.map((v) => <td class="wrap">{v ?? "–"}</td>)}</tr>)}</tbody>
  );
  return (
    <>
      <p class="note">These are single runs: a difference between two of them may be the seed's.</p>
      <section id="values"><h2>Figures</h2><Scroll label="Figures of each run"><table class="side">{head("figure")}{rows(figures)}</table></Scroll></section>
      <section id="settings">
        <h2>Settings that differ</h2>
        {settings.length ? <Scroll label="Settings of each run"><table class="side">{head("setting")}{rows(settings)}</table></Scroll> : <p class="quiet">None.</p>}
      </section>
      <section id="training">
        <h2>Training</h2>
        <div class="panels">
          {runs.map((r) => <figure class="panel"><h3>{r.title}</h3>{r.curve?.loss.steps.length ? <OneCourse line={r.curve.loss} y="training loss" /> : <p class="quiet">It has no curve.</p>}</figure>)}
        </div>
      </section>
      <section id="disagreements">
        <h2>Where they disagree</h2>
        <p class="quiet">{examples.length ? `${count(examples.length, "kept answer")} with different scores.` : "Nowhere, on the examples whose answers were kept."}</p>
        {examples.map((e) => {
          const asked = e.outputs.find((o) => o);
          return (
            <div class="example">
              <div class="asked"><h3>{e.id}</h3><pre tabIndex={0} role="region" aria-label={`Prompt of ${e.id}`}>{asked?.prompt}</pre><p class="quiet">Right: <strong>{asked?.target}</strong></p></div>
              <div class="answers">
                {e.outputs.map((o, i) => o && <div><h4>{runs[i]!.title} <span class="quiet">scored {o.score}</span></h4><pre tabIndex={0} role="region" aria-label={`Answer of ${runs[i]!.title} to ${e.id}`}>{o.output || "(nothing)"}</pre></div>)}
              </div>
            </div>
          );
        })}
      </section>
    </>
  );
}
