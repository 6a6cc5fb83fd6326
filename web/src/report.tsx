// The whole study on one page, the answer first.
import { useEffect } from "preact/hooks";
import { AnswersSection } from "./answers";
import { Tiers } from "./curves";
import { isFile } from "./documents";
import type { Study } from "./documents";
import { FrontSection } from "./front_section";
import { PairsSection } from "./pairs_section";
import { count, Folded, LinesOf, Scroll, shorten, Table, Topic, Topics } from "./parts";
import { address } from "./state";
import type { Change, State } from "./state";
import { LearningRatesSection, TrainingSection } from "./training_sections";

type Props = { study: Study; state: State; change: (values: Change) => void; href: (view: string, values?: Change) => string };

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
  const go = (id: string) => {
    const section = document.getElementById(id);
    section?.scrollIntoView();
    section?.querySelector("h2")?.focus({ preventScroll: true });
  };
  useEffect(() => {
    if (asked) go(asked);
  }, [asked]);
  const link = (id: string, text: string) => (
    <a href={address("report", { ...state.all, s: id })} onClick={() => go(id)}>{text}</a>
  );
  const facts = study.study;
  return (
    <>
      <h1>{facts.name}</h1>
      <p class="facts">
        {count(facts.num_methods, "method")} on {facts.tasks.join(", ") || "no task yet"} · {facts.models.join(", ") || "no model yet"} ·{" "}
        {count(facts.num_finals, "final run")}
        {facts.num_trials > 0 && `, ${count(facts.num_trials, "trial")}`}
        {study.failures.number > 0 && <>, {link("failures", `${study.failures.number} failed`)}</>} · {facts.made_at}
      </p>
      <First study={study} />
      <nav class="sections" aria-label="Sections">
        <ul>{sections.map(([id, name]) => <li>{link(id, name)}</li>)}</ul>
      </nav>
      <Recommendation study={study} href={href} />
      <FrontSection study={study} state={state} change={change} />
      <TiersSection study={study} />
      <PairsSection study={study} href={href} />
      {study.outputs.length > 0 && <AnswersSection study={study} />}
      {study.pictures.length > 0 && <Pictures study={study} />}
      <Costs study={study} />
      <LearningRatesSection study={study} />
      <TrainingSection study={study} />
      <Failures study={study} state={state} />
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
      <h2 tabIndex={-1}>Recommendation</h2>
      {topics.length ? (
        <>
          <div class="answer">
            <Topics topics={topics} />
          </div>
          <p class="quiet screen">Without limits. <a href={href("choose")}>Set yours</a>, or: <code>{study.study.recommend} --max-memory 12GB</code></p>
        </>
      ) : <p class="quiet">None was made for this study.</p>}
    </section>
  );
}

function TiersSection({ study }: { study: Study }) {
  return (
    <section id="tiers">
      <h2 tabIndex={-1}>Tiers</h2>
      <p>{study.pairs.matrix
        ? `The top tier is every method not detectably worse than the best; then the same on the rest. Each is compared with the best alone, an easier question than all pairs at once, so that tiers can part two whose pair is undecided. Bars are ${study.study.level} % intervals.`
        : "Best score first."}</p>
      {study.tiers.notes.map((note) => <div class="note"><Folded text={note} /></div>)}
      {study.tiers.points.length > 0 && <figure><Tiers study={study} /><figcaption>Hollow: trained once.{study.tiers.points.some((p) => p.is_base) && " Dotted line: the untouched base."}</figcaption></figure>}
      <Table table={study.tiers.table} caption="Scores" marks={study.methods} id="score-table" />
    </section>
  );
}

function Pictures({ study }: { study: Study }) {
  return (
    <section id="pictures">
      <h2 tabIndex={-1}>Pictures</h2>
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
      <h2 tabIndex={-1}>Cost and side effects</h2>
      <p>Means over the seeds; point at a figure for its range. A heading says what its figures are taken over, and sorts by them.</p>
      {study.quality.rows.length > 0 && <Table table={study.quality} caption="What it does to the model" marks={study.methods} id="quality-table" />}
      {study.costs.rows.length > 0 && <Table table={study.costs} caption="What it costs" marks={study.methods} id="cost-table" />}
    </section>
  );
}

const RunLink = ({ id, state }: { id: string; state: State }) => (
  <a href={address("report", { ...state.all, run: id })}><code>{id.slice(0, 8)}</code></a>
);

function Failures({ study, state }: { study: Study; state: State }) {
  const { runs, stopped } = study.failures;
  return (
    <section id="failures">
      <h2 tabIndex={-1}>Failures</h2>
      {stopped && <p>{stopped}</p>}
      {runs.length ? (
        <ul class="failures">
          {runs.map((f) => (
            <li>
              <strong>{f.title}</strong> <span class="status">{f.status}</span> <span class="reason">{f.reason}</span>
              <span class="quiet">{f.reached && `came to ${f.reached} · `}{f.attempts && `${f.attempts} attempts · `}
                {f.runs.length === 1 ? "run " : "runs "}{f.runs.map((id) => <><RunLink id={id} state={state} /> </>)}</span>
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
      <h2 tabIndex={-1}>Fairness</h2>
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
      <h2 tabIndex={-1}>Conditions</h2>
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
      <h2 tabIndex={-1}>How to repeat this</h2>
      <pre class="commands" tabIndex={0} role="region" aria-label="Commands">{commands.join("\n")}</pre>
      {commands.some((c) => /\bRUN\b/.test(c)) && <p>RUN is an id, or its first letters: Explore lists them as single runs.</p>}
      {isFile() && <p>The report's figures lie beside it as <code>runs.csv</code>, <code>verdicts.csv</code> and <code>summary.md</code>.</p>}
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
