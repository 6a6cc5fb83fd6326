// How learning rates were found, and how training went.
import { useMemo, useState } from "preact/hooks";
import { BestSoFar, RatePanel, spanOf, Training } from "./curves";
import type { Rates, Study } from "./documents";
import { Mark } from "./marks";

const FEWEST_TRIALS = 3;

export function LearningRatesSection({ study }: { study: Study }) {
  const entries = study.learning_rates;
  const [spanLoss, spanScore] = useMemo(() => [spanOf(entries, "loss"), spanOf(entries, "score")], [study]);
  const [kind, setKind] = useState<"loss" | "score">(spanLoss ? "loss" : "score");
  const span = kind === "loss" ? spanLoss : spanScore;
  return (
    <section id="tuning">
      <h2 tabIndex={-1}>Learning rates</h2>
      {entries.length ? (
        <>
          <p>
            Each method was offered the same trials, which saw training and validation data alone. Line: mean over seeds at the end; dotted:
            losses at the first rung, where short trials stop. Band: the bracket; dashes: the rate that was taken, which may lie between trials; ring: the best trial.
            Cross: stopped early or failed{kind === "score" ? "; a trial that was stopped has no score and is not shown" : ""}.
          </p>
          {spanLoss && spanScore && (
            <div class="controls"><label>show{" "}
              <select value={kind} onChange={(event) => setKind(event.currentTarget.value as "loss" | "score")}>
                <option value="loss">validation loss</option><option value="score">validation score</option>
              </select></label></div>
          )}
          <div class="panels">{entries.map((entry) => <Panel study={study} entry={entry} kind={kind} span={span} />)}</div>
          {study.best.some((b) => b.values.length >= FEWEST_TRIALS) && (
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
  study: Study; entry: Rates; kind: "loss" | "score"; span: [number, number] | null;
}) {
  return (
    <figure class="panel">
      <h3><Mark mark={study.methods[entry.method]} />{entry.method}</h3>
      <p class="quiet">{entry.chosen ? `lr ${entry.chosen} chosen · ` : "none chosen · "}{entry.trials.length} of at most {entry.offered} trials, {entry.steps} steps</p>
      {entry.edge && <p class="flag">⚠ {entry.edge}</p>}
      {span && <RatePanel entry={entry} kind={kind} span={span} study={study} />}
    </figure>
  );
}

export function TrainingSection({ study }: { study: Study }) {
  const has = (kind: "loss" | "score") => study.training.some((c) => c[kind].steps.length);
  const [kind, setKind] = useState<"loss" | "score">(has("loss") ? "loss" : "score");
  return (
    <section id="training">
      <h2 tabIndex={-1}>Training</h2>
      {has("loss") || has("score") ? (
        <>
          {has("loss") && has("score") && (
            <div class="controls"><label>show{" "}
              <select value={kind} onChange={(event) => setKind(event.currentTarget.value as "loss" | "score")}>
                <option value="loss">training loss</option><option value="score">validation score</option>
              </select></label></div>
          )}
          <figure><Training study={study} kind={kind} />
            <figcaption>A line per run; the seeds of a method share a colour. Dotted: a run that did not end well. A button hides a method or brings it back.</figcaption></figure>
        </>
      ) : <p class="quiet">No final run has a curve yet.</p>}
    </section>
  );
}
