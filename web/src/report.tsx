// The whole study on one page, the answer first.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { BestSoFar, RatePanel, spanOf, Tiers, Training } from "./curves";
import type { Study } from "./documents";
import { axisOf, frontFor, frontPath, frontPoints, placeText } from "./front";
import { Mark } from "./marks";
import { count, Folded, LinesOf, Scroll, Table, Topic, Topics } from "./parts";
import { Scatter } from "./scatter";
import type { Change, State } from "./state";

type Props = { study: Study; state: State; change: (values: Change) => void; href: (view: string, values?: Change) => string };

const NOTHING: ReadonlySet<string> = new Set();

const sectionsOf = (study: Study): [string, string][] => [
  ["recommendation", "Recommendation"], ["front", "Front"], ["tiers", "Tiers"], ["pairs", "Pairs"],
  ...(study.outputs.length ? [["outputs", "Answers"] as [string, string]] : []),
  ...(study.pictures.length ? [["pictures", "Pictures"] as [string, string]] : []),
  ["costs", "Cost and side effects"], ["tuning", "Learning rates"], ["training", "Training"], ["failures", "Failures"],
  ["fairness", "Fairness"], ["conditions", "Conditions"], ["repeat", "Repeat"],
];

export function Report({ study, state, change, href }: Props) {
  const sections = sectionsOf(study);
  const asked = state.get("s");
  useEffect(() => {
    if (asked) document.getElementById(asked)?.scrollIntoView();
  }, [asked]);
  const { facts, title } = { facts: study.study, title: study.study.name };
  return (
    <>
      <h1>{title}</h1>
      <p class="facts">
        {count(facts.num_methods, "method")} on {facts.tasks.join(", ") || "no task yet"} · {facts.models.join(", ") || "no model yet"} ·{" "}
        {count(facts.num_finals, "final run")}
        {facts.num_trials > 0 && `, ${count(facts.num_trials, "trial")}`}
        {study.failures.number > 0 && <>, <a href={href("report", { s: "failures" })}>{study.failures.number} failed</a></>} · {facts.made_at}
      </p>
      <First study={study} />
      <nav class="sections" aria-label="Sections">
        <ul>{sections.map(([id, name]) => <li><a href={href("report", { s: id })}>{name}</a></li>)}</ul>
      </nav>
      <Recommendation study={study} href={href} />
      <Front study={study} state={state} change={change} />
      <TiersSection study={study} />
      <Pairs study={study} href={href} />
      {study.outputs.length > 0 && <Answers study={study} />}
      {study.pictures.length > 0 && <Pictures study={study} />}
      <Costs study={study} />
      <LearningRates study={study} />
      <TrainingSection study={study} />
      <Failures study={study} change={change} />
      <Fairness study={study} />
      <Conditions study={study} />
      <Repeat study={study} href={href} />
    </>
  );
}

/** What a reader must know before any figure. */
function First({ study }: { study: Study }) {
  if (!study.first.length) return null;
  return (
    <section class="loud" role="note" aria-labelledby="first">
      <h2 id="first">Before you read the figures</h2>
      {study.first.map(({ title, lines }) => (
        <><h3>{title}</h3><ul>{lines.map((line) => <li><Folded text={line} /></li>)}</ul></>
      ))}
    </section>
  );
}

function Recommendation({ study, href }: { study: Study; href: Props["href"] }) {
  const topics = study.recommendation;
  return (
    <section id="recommendation">
      <h2>Recommendation</h2>
      {topics.length ? (
        <>
          <div class="answer">
            <Topics topics={topics} />
          </div>
          <p class="quiet screen">Without limits. <a href={href("choose")}>Set yours</a>, or: <code>peftscope recommend {study.study.place} --max-memory 12GB</code></p>
        </>
      ) : <p class="quiet">None was made for this study.</p>}
    </section>
  );
}

export function AxisSelect({ label, value, axes, onChange }: {
  label: string; value: string; axes: Record<string, { label: string }>; onChange: (value: string) => void;
}) {
  return (
    <label>{label}{" "}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {Object.entries(axes).map(([name, axis]) => <option value={name} selected={name === value}>{axis.label}</option>)}
      </select>
    </label>
  );
}

/** The two metrics of a front as the address has them, or those shown first. */
export function axesIn(state: State, first: [string, string], known: Record<string, unknown>, score: string | null = null): [string, string] {
  const named = (given: string | undefined) =>  // methods have the score by its metric's name, runs by that of the record
    given === score && !(given! in known) ? "test_score" : given === "test_score" && score && score in known ? score : given;
  const [x, y] = [named(state.get("x")), named(state.get("y"))];
  return [x && x in known ? x : first[0], y && y in known ? y : first[1]];
}

/** A metric against itself is none: the two change places. */
export function axesChanged(now: [string, string], place: 0 | 1, value: string): Change {
  const next: [string, string] = [...now];
  next[place] = value;
  if (next[0] === next[1]) next[1 - place] = now[place];
  return { x: next[0], y: next[1] };
}

function Front({ study, state, change }: Omit<Props, "href">) {
  const { axes, default: first } = study.front;
  const [x, y] = first ? axesIn(state, first, axes) : ["", ""];
  const found = frontFor(study, x, y);
  const points = useMemo(() => (found ? frontPoints(study, x, y, found) : []), [study, x, y]);
  const path = useMemo(() => (found ? frontPath(study, x, y, found) : []), [study, x, y]);
  const [a, b] = [useMemo(() => axes[x] && axisOf(axes[x]), [study, x]), useMemo(() => axes[y] && axisOf(axes[y]), [study, y])];
  const [picked, pick] = useState(NOTHING);
  if (!first || !found || !a || !b || !axes[x] || !axes[y])
    return <section id="front"><h2>Front</h2><p class="quiet">No two metrics have values yet.</p></section>;
  const names = points.map((p) => p.name);
  const hidden = Object.keys(study.methods).length - names.length;
  const zero = [x, y].filter((n) => axes[n]!.floor !== null && names.some((m) => study.front.points[n]![m]!.value <= axes[n]!.floor!));
  const caption = [
    ...[x, y].map((n) => `${axes[n]!.label}: ${axes[n]!.better}; ${axes[n]!.window}`.replace(/\.?$/, ".")),
    zero.length ? `Zero has no place on a logarithmic axis and is drawn on its edge (${zero.map((n) => axes[n]!.label).join(", ")}).` : "",
    hidden ? `${hidden} without both values ${hidden === 1 ? "is" : "are"} not drawn.` : "",
  ];
  return (
    <section id="front">
      <h2>Front</h2>
      <p>
        Which methods are beaten by no other on both metrics at once? These are the front, joined by the line. Larger marks are more surely
        on it; <strong>hollow marks were trained once</strong>, and without scores per example their place has no probability.
      </p>
      <div class="controls">
        <AxisSelect label="across" value={x} axes={axes} onChange={(value) => change(axesChanged([x, y], 0, value))} />
        <AxisSelect label="up" value={y} axes={axes} onChange={(value) => change(axesChanged([x, y], 1, value))} />
      </div>
      <figure>
        <Scatter points={points} x={a} y={b} path={path} picked={picked} label={`${axes[y].label} against ${axes[x].label}`}
          onPick={(keys) => pick(new Set(keys.length === 1 && picked.has(keys[0]!) ? [] : keys))} />
        <figcaption aria-live="polite">{caption.filter(Boolean).join(" ")}</figcaption>
      </figure>
      <FrontTables study={study} x={x} y={y} names={names} />
    </section>
  );
}

function FrontTables({ study, x, y, names }: { study: Study; x: string; y: string; names: string[] }) {
  const found = frontFor(study, x, y)!;
  const axes = study.front.axes;
  const sign = axes[x]!.direction === "lower" ? 1 : -1;
  const byX = (a: string, b: string) => sign * (study.front.points[x]![a]!.value - study.front.points[x]![b]!.value);
  const members = names.filter((n) => found.members.includes(n)).sort(byX);
  const others = names.filter((n) => !found.members.includes(n))
    .sort((a, b) => (found.membership[b] ?? 0) - (found.membership[a] ?? 0) || byX(a, b));
  const rows = (given: string[]) => (
    <table>
      <thead><tr>{["method", axes[x]!.label, axes[y]!.label, "probability", "how sure"].map((h) => <th scope="col">{h}</th>)}</tr></thead>
      <tbody>
        {given.map((name) => {
          const beaten = found.removable[name];
          const note = beaten === undefined ? "" : `one standard error of the score could remove it${beaten.length ? `: ${beaten.join(", ")} would beat it` : ""}`;
          return (
            <tr>
              <th scope="row"><Mark mark={study.methods[name]} />{name}</th>
              <td>{study.front.points[x]![name]!.text}</td><td>{study.front.points[y]![name]!.text}</td>
              <td>{placeText(found.membership[name], study.methods[name])}</td><td class="wrap">{note}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
  return (
    <>
      <h3>On the front</h3>
      <Scroll label="Members of the front">{rows(members)}</Scroll>
      {others.length > 0 && <details><summary>The other candidates</summary><Scroll label="Candidates beside the front">{rows(others)}</Scroll></details>}
      {found.notes.length > 0 && <details><summary>Notes on this front</summary><ul>{found.notes.map((n) => <li>{n}</li>)}</ul></details>}
    </>
  );
}

function TiersSection({ study }: { study: Study }) {
  return (
    <section id="tiers">
      <h2>Tiers</h2>
      <p>{study.pairs.matrix
        ? `The top tier is every method not detectably worse than the best; then the same on the rest. Bars are ${study.study.level} % intervals.`
        : "Best score first."}</p>
      {study.tiers.notes.map((note) => <div class="note"><Folded text={note} /></div>)}
      {study.tiers.points.length > 0 && <figure><Tiers study={study} /><figcaption>Hollow: trained once. Dotted line: the untouched base.</figcaption></figure>}
      <Table table={study.tiers.table} caption="Scores" marks={study.methods} id="score-table" />
    </section>
  );
}

function Pairs({ study, href }: { study: Study; href: Props["href"] }) {
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
      <section id="pairs"><h2>Every two methods</h2>
        <p class="quiet">No two methods can be compared: that takes scores of the same test examples from both.</p>
      </section>
    );
  return (
    <section id="pairs">
      <h2>Every two methods</h2>
      <p>
        Row against column, on the same test examples. <span class="key better">▲ better</span> <span class="key worse">▼ worse</span>{" "}
        <span class="key equivalent">= equivalent</span>, that is {margin ? `within ${margin}` : "within a margin you give with --margin"},{" "}
        <span class="key undecided">? undecided</span>: not enough evidence for either, which is not the same as equivalent.{" "}
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

export const shorten = (text: string, n = 28) =>
  text.length <= n ? text : `${text.slice(0, Math.ceil(n / 2) - 1)}…${text.slice(-Math.floor(n / 2))}`;

function Answers({ study }: { study: Study }) {
  const [shown, show] = useState(2);
  return (
    <section id="outputs">
      <h2>Answers</h2>
      <p>What the methods answered to the same test examples; those most got wrong come first.</p>
      {study.outputs.slice(0, shown).map((example) => <Answered study={study} example={example} methods={Object.keys(example.answers)} />)}
      {study.outputs.length > shown && (
        <button type="button" class="screen" onClick={() => show(study.outputs.length)}>{count(study.outputs.length - shown, "more example")}</button>
      )}
    </section>
  );
}

/** One example with the answers of some methods. */
export function Answered({ study, example, methods }: { study: Study; example: Study["outputs"][number]; methods: string[] }) {
  return (
    <div class="example">
      <div class="asked">
        <h3>{example.id}</h3>
        <pre tabIndex={0} role="region" aria-label={`Prompt of ${example.id}`}>{example.prompt}</pre>
        <p class="quiet">Right: <strong>{example.target}</strong></p>
      </div>
      <div class="answers">
        {methods.filter((m) => m in example.answers).map((m) => {
          const answer = example.answers[m]!;
          return (
            <div class={answer.right === null ? "" : answer.right ? "right" : "wrong"}>
              <h4><Mark mark={study.methods[m]} />{m} <span class="quiet">{answer.right === null ? answer.score : answer.right ? "✓ right" : "✗ wrong"}</span></h4>
              <pre tabIndex={0} role="region" aria-label={`Answer of ${m} to ${example.id}`}>{answer.output || "(nothing)"}</pre>
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Pictures({ study }: { study: Study }) {
  return (
    <section id="pictures">
      <h2>Pictures</h2>
      {study.pictures.map((t) => (
        <>
          <h3>{t.title}</h3>
          <p class="quiet">{t.about}</p>
          <Scroll label={t.title}>
            <table class="pictures">
              <thead><tr><td />{t.headings.map((h) => <th scope="col">{shorten(h)}</th>)}</tr></thead>
              <tbody>{t.rows.map((row) => (
                <tr><th scope="row">{row.name}</th>
                  {row.pictures.map((source, i) => <td>{source && <img src={source} alt={`${row.name}, ${t.headings[i]}`} />}</td>)}</tr>
              ))}</tbody>
            </table>
          </Scroll>
        </>
      ))}
    </section>
  );
}

function Costs({ study }: { study: Study }) {
  return (
    <section id="costs">
      <h2>Cost and side effects</h2>
      <p>Means over the seeds; point at a figure for its range. A heading says what its figures are taken over, and sorts by them.</p>
      {study.quality.rows.length > 0 && <Table table={study.quality} caption="What it does to the model" marks={study.methods} id="quality-table" />}
      {study.costs.rows.length > 0 && <Table table={study.costs} caption="What it costs" marks={study.methods} id="cost-table" />}
    </section>
  );
}

function LearningRates({ study }: { study: Study }) {
  const entries = study.learning_rates;
  const [spanLoss, spanScore] = useMemo(() => [spanOf(entries, "loss"), spanOf(entries, "score")], [study]);
  const [kind, setKind] = useState<"loss" | "score">(spanLoss ? "loss" : "score");
  const span = kind === "loss" ? spanLoss : spanScore;
  return (
    <section id="tuning">
      <h2>Learning rates</h2>
      {entries.length ? (
        <>
          <p>
            Each method was offered the same trials, which saw training and validation data alone. Line: mean over seeds at the end; dotted:
            losses at the first rung, where short trials stop. Band: the bracket; dashes: the rate that was taken; ring: the best trial.
            Cross: stopped early or failed{kind === "score" ? "; a trial that was stopped has no score and is not shown" : ""}.
          </p>
          {spanLoss && spanScore && (
            <div class="controls"><label>show{" "}
              <select value={kind} onChange={(event) => setKind(event.currentTarget.value as "loss" | "score")}>
                <option value="loss">validation loss</option><option value="score">validation score</option>
              </select></label></div>
          )}
          <div class="panels">{entries.map((entry) => <Panel study={study} entry={entry} kind={kind} span={span} />)}</div>
          {study.best.length > 0 && (
            <>
              <h3>Best so far against number of trials</h3>
              <figure><BestSoFar study={study} /><figcaption>In the order of the offers. A line that still gets better at its end says that more trials might have found more.</figcaption></figure>
            </>
          )}
        </>
      ) : <p class="quiet">No method was tuned: each ran with the learning rate of its card, or the one it was given.</p>}
    </section>
  );
}

export function Panel({ study, entry, kind, span }: {
  study: Study; entry: Study["learning_rates"][number]; kind: "loss" | "score"; span: [number, number] | null;
}) {
  return (
    <figure class="panel">
      <h3><Mark mark={study.methods[entry.method]} />{entry.method}</h3>
      <p class="quiet">{entry.chosen ? `lr ${entry.chosen} chosen · ` : "none chosen · "}{entry.trials.length} of at most {entry.offered} trials, {entry.steps} steps</p>
      {entry.edge && <p class="flag">⚠ {entry.edge}</p>}
      {span && <RatePanel entry={entry} kind={kind} span={span} mark={study.methods[entry.method]} />}
    </figure>
  );
}

function TrainingSection({ study }: { study: Study }) {
  const has = (kind: "loss" | "score") => study.training.some((c) => c[kind].steps.length);
  const [kind, setKind] = useState<"loss" | "score">(has("loss") ? "loss" : "score");
  return (
    <section id="training">
      <h2>Training</h2>
      {has("loss") || has("score") ? (
        <>
          {has("loss") && has("score") && (
            <div class="controls"><label>show{" "}
              <select value={kind} onChange={(event) => setKind(event.currentTarget.value as "loss" | "score")}>
                <option value="loss">training loss</option><option value="score">validation score</option>
              </select></label></div>
          )}
          <figure><Training courses={study.training} kind={kind} methods={study.methods} />
            <figcaption>A line per run; the seeds of a method share a colour. Dotted: a run that did not end well. A button hides a method or brings it back.</figcaption></figure>
        </>
      ) : <p class="quiet">No final run has a curve yet.</p>}
    </section>
  );
}

const RunLink = ({ id, change }: { id: string; change: Props["change"] }) => (
  <button type="button" class="link" onClick={() => change({ run: id })}><code>{id.slice(0, 8)}</code></button>
);

function Failures({ study, change }: { study: Study; change: Props["change"] }) {
  const { runs, stopped } = study.failures;
  return (
    <section id="failures">
      <h2>Failures</h2>
      {stopped && <p>{stopped}</p>}
      {runs.length ? (
        <ul class="failures">
          {runs.map((f) => (
            <li>
              <strong>{f.title}</strong> <span class="status">{f.status}</span> <span class="reason">{f.reason}</span>
              <span class="quiet">{f.reached && `came to ${f.reached} · `}{f.attempts && `${f.attempts} attempts · `}
                {f.runs.length === 1 ? "run " : "runs "}{f.runs.map((id) => <><RunLink id={id} change={change} /> </>)}</span>
              {f.traceback && <details><summary>Traceback</summary><pre tabIndex={0}>{f.traceback}</pre></details>}
            </li>
          ))}
        </ul>
      ) : <p class="quiet">No run failed.</p>}
    </section>
  );
}

function Fairness({ study }: { study: Study }) {
  const { warnings, topics } = study.fairness;
  return (
    <section id="fairness">
      <h2>Fairness</h2>
      {warnings.map((line) => <p class="flag">⚠ {line}</p>)}
      {topics.map((topic) => <Topic topic={topic} />)}
      {!warnings.length && !topics.length && <p class="quiet">Nothing to tell yet.</p>}
    </section>
  );
}

function Conditions({ study }: { study: Study }) {
  const { protocols, differences, environments, warnings } = study.conditions;
  return (
    <section id="conditions">
      <h2>Conditions</h2>
      <p>Scores are ranked within the same conditions of quality alone, times and memory within the same conditions of cost.</p>
      {differences.length > 0 && <div class="note"><p>The runs were not all made under the same conditions:</p><ul>{differences.map((d) => <li>{d}</li>)}</ul></div>}
      {protocols.map((p) => <details><summary>{p.kind} <code>{p.hash}</code>, {count(p.num_runs, "run")}</summary><LinesOf lines={p.lines} /></details>)}
      <h3>Environment</h3>
      {environments.map((e) => <details><summary>{count(e.num_runs, "run")}</summary><LinesOf lines={e.lines} /></details>)}
      {!environments.length && <p class="quiet">No run has recorded one.</p>}
      {warnings.length > 0 && <details><summary>{count(warnings.length, "note")} of the runs</summary><ul>{warnings.map((w) => <li>{w}</li>)}</ul></details>}
    </section>
  );
}

function Repeat({ study, href }: { study: Study; href: Props["href"] }) {
  const { commands, level } = study.study;
  const margin = study.pairs.margin ?? "the margin";
  return (
    <section id="repeat">
      <h2>How to repeat this</h2>
      <pre class="commands" tabIndex={0} role="region" aria-label="Commands">{commands.join("\n")}</pre>
      <p>RUN is an id of the list below, or its first letters. The report's figures lie beside it as <code>runs.csv</code>, <code>verdicts.csv</code> and <code>summary.md</code>.</p>
      <p class="screen"><a href={href("explore", { show: "runs" })}>All {study.study.num_finals + study.study.num_trials} runs</a>, each with its settings, curves and answers.</p>
      <h3>How to read the numbers</h3>
      <ul>
        <li>Intervals ({level} %) are conditional on the frozen configurations: they say what other seeds and other test examples would have given, not what another tuning would have chosen, nor another task or model.</li>
        <li><em>Undecided</em> is not <em>equivalent</em>: the one lacks evidence, the other has evidence of a difference within {margin}.</li>
        <li>A figure without an interval is a single run. Times and memory have the range over the seeds, which is no interval.</li>
      </ul>
    </section>
  );
}
