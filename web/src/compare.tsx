// Two to five methods side by side.
import { useMemo } from "preact/hooks";
import { CompareRuns } from "./compare_runs";
import type { Study } from "./documents";
import { Mark } from "./marks";
import { Code, count, Scroll, sideBySide, Topic } from "./parts";
import { Answered } from "./answers";
import type { Change, State } from "./state";

const MOST = 5;
const SHOWN = 4;

export function Compare({ study, name, state, change }: { study: Study; name: string; state: State; change: (values: Change) => void }) {
  const runs = (state.get("r") ?? "").split("\n").filter(Boolean).slice(0, MOST);
  const names = Object.keys(study.methods);
  const given = state.get("m");
  const asked = (given ?? "").split("\n").filter((n) => names.includes(n));
  const unknown = (given ?? "").split("\n").filter((n) => n && !names.includes(n));
  const start = useMemo(() => study.tiers.points.slice(0, 2).map((p) => p.method), [study]);
  const chosen = (given === undefined ? start : asked).slice(0, MOST);
  const toggle = (name: string) => {
    const next = chosen.includes(name) ? chosen.filter((n) => n !== name) : [...chosen, name].slice(-MOST);
    change({ m: next.join("\n") });
  };
  if (runs.length > 1)
    return (
      <>
        <h1>{study.study.name}: {runs.length} runs side by side</h1>
        <CompareRuns ids={runs} name={name} />
      </>
    );
  return (
    <>
      <h1>{study.study.name}: side by side</h1>
      <fieldset class="picker">
        <legend>Two to five methods</legend>
        {names.map((name) => (
          <label>
            <input type="checkbox" checked={chosen.includes(name)} disabled={!chosen.includes(name) && chosen.length >= MOST} onChange={() => toggle(name)} />
            <Mark mark={study.methods[name]} />{name}
          </label>
        ))}
      </fieldset>
      {unknown.length > 0 && <p class="note" role="alert">Not in this study: {unknown.join(", ")}.</p>}
      {chosen.length < 2 ? <p class="note">Choose one more.</p> : (
        <>
          <Figures study={study} chosen={chosen} />
          <Differences study={study} chosen={chosen} />
          <Disagreements study={study} chosen={chosen} />
          <Settings study={study} chosen={chosen} />
          <CodeOf study={study} chosen={chosen} />
        </>
      )}
    </>
  );
}

type Part = { study: Study; chosen: string[] };

const Heads = ({ study, chosen, first }: Part & { first: string }) => (
  <thead><tr><th scope="col">{first}</th>{chosen.map((n) => <th scope="col"><Mark mark={study.methods[n]} />{n}</th>)}</tr></thead>
);

function Figures({ study, chosen }: Part) {
  const metrics = Object.entries(study.front.axes);
  return (
    <section id="values">
      <h2>Figures</h2>
      <p>The score with its 95 % interval; of the others the mean over the seeds, and below it the smallest and the largest.</p>
      <Scroll label="Figures side by side">
        <table class="side">
          <Heads study={study} chosen={chosen} first="metric" />
          <tbody>
            {metrics.map(([name, axis]) => {
              const points = study.front.points[name] ?? {};
              if (!chosen.some((n) => points[n])) return null;
              return (
                <tr>
                  <th scope="row" title={axis.window}>{axis.label}<small>{axis.better}</small></th>
                  {chosen.map((n) => {
                    const r = points[n];
                    return <td title={r?.spread}>{r ? <>{r.text}{r.range && <small>{r.range}</small>}</> : "–"}</td>;
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Differences({ study, chosen }: Part) {
  const rows = study.pairs.matrix?.rows ?? [];
  const names = study.pairs.matrix?.names ?? [];
  const pairs = chosen.flatMap((a, i) => chosen.slice(i + 1).map((b) => [a, b] as const));
  const lines = pairs.flatMap(([a, b]) => {
    const cell = rows.find((r) => r.method === a)?.cells[names.indexOf(b)];
    return cell?.sign ? [{ ...cell, a, b }] : [];
  });
  return (
    <section id="differences">
      <h2>Paired differences</h2>
      <p>On the same test examples. Intervals are each pair's own, verdicts allow for all pairs of the study at once: an undecided pair's interval may leave out zero. The probability is that of a new training of the first to score higher than one of the second.</p>
      {lines.length ? <ul class="plain">{lines.map((l) => <li><span class={`key ${l.verdict}`}>{l.sign} {l.verdict}</span> {l.text}</li>)}</ul>
        : <p class="quiet">No two of these can be compared: that takes scores of the same test examples from both.</p>}
    </section>
  );
}

function Disagreements({ study, chosen }: Part) {
  const found = study.disagreements.pairs.filter((p) => chosen.includes(p.first) && chosen.includes(p.second));
  const differ = study.outputs.filter((e) => {
    const own = chosen.filter((n) => n in e.answers).map((n) => e.answers[n]!);
    return own.length > 1 && new Set(own.map((a) => a.score)).size > 1;
  });
  const shown = (differ.length ? differ : study.outputs.filter((e) => chosen.some((n) => n in e.answers))).slice(0, SHOWN);
  return (
    <section id="disagreements">
      <h2>Where they disagree</h2>
      {study.disagreements.left_out > 0 && <p class="quiet">Counted are pairs of the first methods by score; {count(study.disagreements.left_out, "method")} beyond them are not.</p>}
      {found.length > 0 && (
        <Topic topic={{ title: study.disagreements.about, lines: [], rows: [
          ["pair", "first better on", "second better on", "same on"],
          ...found.map((p) => [`${p.first} against ${p.second}`, count(p.first_better, "example"), count(p.second_better, "example"), count(p.same, "example")]),
        ] }} />
      )}
      {shown.length > 0 && <p class="quiet">{differ.length ? "Kept answers to examples on which they differ." : "On the examples whose answers were kept, these methods agree."}</p>}
      {shown.map((e) => <Answered study={study} example={e} methods={chosen} />)}
      {study.pictures.slice(0, 1).map((t) => (
        <Scroll label={t.title}>
          <table class="pictures">
            <thead><tr><td />{chosen.map((n) => <th scope="col"><Mark mark={study.methods[n]} />{n}</th>)}</tr></thead>
            <tbody>{t.rows.map((row) => (
              <tr><th scope="row">{row.name}</th>
                {chosen.map((n) => { const source = row.pictures[t.headings.indexOf(n)]; return <td>{source ? <img src={source} alt={`${row.name}, ${n}`} /> : "–"}</td>; })}</tr>
            ))}</tbody>
          </table>
        </Scroll>
      ))}
      {!found.length && !shown.length && !study.pictures.length && <p class="quiet">No answers were kept, and no scores of single examples.</p>}
    </section>
  );
}

function Settings({ study, chosen }: Part) {
  const differing = sideBySide(chosen.map((n) => study.settings[n] ?? [])).filter(([, values]) => new Set(values).size > 1);
  return (
    <section id="settings">
      <h2>Settings that differ</h2>
      {differing.length ? (
        <Scroll label="Settings side by side">
          <table class="side">
            <Heads study={study} chosen={chosen} first="setting" />
            <tbody>{differing.map(([k, values]) => <tr><th scope="row">{k}</th>{values.map((v) => <td class="wrap">{v ?? "–"}</td>)}</tr>)}</tbody>
          </table>
        </Scroll>
      ) : <p class="quiet">None that the records hold.</p>}
    </section>
  );
}

function CodeOf({ study, chosen }: Part) {
  if (!chosen.some((n) => study.code[n])) return null;
  return (
    <section id="code">
      <h2>Code</h2>
      {chosen.map((n) => {
        const code = study.code[n];
        if (!code) return null;
        return (
          <>
            <h3><Mark mark={study.methods[n]} />{n}</h3>
            <Code text={code.train} label={`${n} in peft`} />
            {code.load && <Code text={code.load} label={`The trained ${n}`} />}
          </>
        );
      })}
    </section>
  );
}
