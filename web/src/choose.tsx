// Limits moved, the answer read. Every answer was made by Python; here it is looked up.
import { useEffect, useMemo, useState } from "preact/hooks";
import { documentName, isLive, load } from "./documents";
import type { Answer, Limit, Study } from "./documents";
import { axisOf, frontPath, frontPoints } from "./front";
import { Code, Note, Topics } from "./parts";
import { beyondText, NONE_PICKED, Scatter } from "./scatter";
import type { Change, State } from "./state";

type Set = { place: number; value: number; label: string; given: string; admits: string[] };

/** A limit as the address has it: the loosest stop that it does not go beyond; below all of them nothing trained is left. */
function limitIn(limit: Limit, bases: string[], state: State): Set | null | "nonsense" {
  const given = state.get(`max.${limit.name}`);
  if (given === undefined) return null;
  const value = Number(given);
  if (given.trim() === "" || !Number.isFinite(value)) return "nonsense";
  const place = limit.stops.findIndex((stop) => stop.value <= value);
  if (place >= 0) return { ...limit.stops[place]!, place: place + 1 };
  return { place: limit.stops.length, value, label: `${given} ${limit.unit}`, given: `${given}${limit.unit}`, admits: bases };
}

type Asked = { query: string; study: Study; answer?: Answer; problem?: string };

export function Choose({ study, name, state, change }: { study: Study; name: string; state: State; change: (values: Change) => void }) {
  const choices = study.choices;
  const read = choices.limits.map((limit) => limitIn(limit, choices.bases, state));
  const wrong = choices.limits.filter((_, i) => read[i] === "nonsense");
  const set = read.map((limit) => (limit === "nonsense" ? null : limit));
  const needs = choices.needs.map((need) => state.get(`need.${need.name}`) === "1");
  const admittedBy = (without?: string) => {
    const sets = [
      ...choices.limits.flatMap((l, i) => (set[i] && l.name !== without ? [set[i]!.admits] : [])),
      ...choices.needs.flatMap((n, i) => (needs[i] && n.name !== without ? [n.admits] : [])),
    ];
    return choices.methods.filter((m) => sets.every((s) => s.includes(m)));
  };
  const active = [...choices.limits.filter((_, i) => set[i]), ...choices.needs.filter((_, i) => needs[i])];
  const query = new URLSearchParams([
    ...choices.limits.flatMap((l, i): [string, string][] => (set[i] ? [[l.name, String(set[i]!.value)]] : [])),
    ...choices.needs.flatMap((n, i): [string, string][] => (needs[i] ? [[n.name, "1"]] : [])),
  ]).toString();
  const [asked, setAsked] = useState<Asked | null>(null);
  useEffect(() => {
    if (!isLive() || !query) return;
    let current = true;
    load<Answer>(`${documentName(name, "choose")}?${query}`)
      .then((answer) => current && setAsked({ query, study, answer }))
      .catch((error: Error) => current && setAsked({ query, study, problem: error.message }));
    return () => { current = false; };
  }, [query, name, study]);
  const own = asked?.query === query && asked.study === study ? asked : null;
  // a limit and a need together can change what the limit is read from: then no stop holds, and Python alone knows
  const together = choices.limits.some((l, i) => set[i] && l.apart_from.some((n) => needs[choices.needs.findIndex((m) => m.name === n)]));
  const answer = own?.answer ?? (together ? undefined : choices.answers[admittedBy().join("\n")]);
  const admitted = answer?.admitted ?? admittedBy();
  const command = [study.study.recommend,
    ...choices.limits.flatMap((l, i) => (set[i] ? [`${l.option}${set[i]!.given}`] : [])),
    ...choices.needs.flatMap((n, i) => (needs[i] && n.option ? [n.option] : []))].join(" ");
  const reset = Object.fromEntries([...choices.limits.map((l) => [`max.${l.name}`, undefined]), ...choices.needs.map((n) => [`need.${n.name}`, undefined])]);
  return (
    <>
      <h1>{study.study.name}: choose</h1>
      <div class="choose">
        <form aria-label="Limits" onSubmit={(event) => event.preventDefault()}>
          <h2 class="unseen">Limits</h2>
          {choices.limits.length > 0 && <p class="quiet">Every run has to keep a limit: the largest figure over the seeds counts, where tables have the mean.</p>}
          {choices.limits.map((limit, i) => <Slider limit={limit} set={set[i]!} change={change} />)}
          {choices.needs.length > 0 && (
            <fieldset class="picker"><legend>It must</legend>
              {choices.needs.map((need, i) => (
                <label title={need.about}>
                  <input type="checkbox" checked={needs[i]} onChange={() => change({ [`need.${need.name}`]: needs[i] ? undefined : "1" })} />{need.label}
                </label>
              ))}
            </fieldset>
          )}
          {!choices.limits.length && !choices.needs.length && <Note>Nothing was measured that a limit could be set on.</Note>}
          {active.length > 0 && <button type="button" onClick={() => change(reset)}>Without limits</button>}
        </form>
        <div>
          <h2 class="unseen">The answer</h2>
          <div class="answer" aria-live="polite">
            {wrong.map((limit) => <Note>The address has no amount for “{limit.label}”: it sets no limit.</Note>)}
            {own?.problem && <Note>{own.problem}</Note>}
            {answer ? <Topics topics={answer.topics} />
              : own?.problem ? null
              : isLive() ? <p class="quiet">Deciding…</p>
              : <Note>The answer under these limits together is not in this file. The command below gives it.</Note>}
          </div>
          {answer && active.length > 0 && (
            <div class="topic"><h3>What each limit cost</h3>
              {!together && <ul>{active.map((limit) => {
                const other = choices.answers[admittedBy(limit.name).join("\n")];
                const text = !other ? (isLive() ? "see by moving it" : "not in this file") : other.summary === answer.summary ? "nothing: the answer would be the same" : `instead: ${other.summary}`;
                return <li>Without “{limit.label}”, {text}.</li>;
              })}</ul>}
              <p class="quiet">{choices.methods.length - admitted.length} of {choices.methods.length} candidates are left out.</p>
            </div>
          )}
          {answer && <ChoiceFront study={study} answer={answer} admitted={admitted} />}
          <h3>The same at the terminal</h3>
          <Code text={command} label="The command" />
        </div>
      </div>
    </>
  );
}

function Slider({ limit, set, change }: { limit: Limit; set: Set | null; change: (values: Change) => void }) {
  const place = set?.place ?? 0;
  const text = set ? `at most ${set.label}` : "any";
  const last = limit.stops.length;
  return (
    <div class="slider">
      <label for={`limit-${limit.name}`}>{limit.label}</label>
      <output for={`limit-${limit.name}`}>{text}</output>
      <input id={`limit-${limit.name}`} type="range" min={0} max={last} step={1} value={last - place} aria-valuetext={text}
        onInput={(event) => {
          const next = last - Number(event.currentTarget.value);
          change({ [`max.${limit.name}`]: next ? String(limit.stops[next - 1]!.value) : undefined });
        }} />
      {limit.unknown.length > 0 && place > 0 && <small>left out, not measured: {limit.unknown.join(", ")}</small>}
    </div>
  );
}

function ChoiceFront({ study, answer, admitted }: { study: Study; answer: Answer; admitted: string[] }) {
  const [x, y] = study.choices.axes ?? ["", ""];
  const axes = study.front.axes;
  const points = useMemo(
    () => (study.choices.axes ? frontPoints(study, x, y, answer, new Set(admitted)) : []), [study, answer, admitted.join("\n")]);
  const path = useMemo(() => frontPath(study, x, y, answer), [study, answer]);
  const [a, b] = [useMemo(() => axes[x] && axisOf(axes[x]), [study]), useMemo(() => axes[y] && axisOf(axes[y]), [study])];
  if (!a || !b || !points.length) return null;
  return (
    <figure>
      <Scatter points={points} x={a} y={b} path={path} picked={NONE_PICKED} height={380} label={`${axes[y]!.label} against ${axes[x]!.label}, what the limits leave out is faint`} />
      <figcaption>{answer.choice ? `The front of what keeps the limits. Taken: ${answer.choice}.` : "Nothing keeps the limits."} {beyondText(points, a, b)}</figcaption>
    </figure>
  );
}
