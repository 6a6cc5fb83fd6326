// Limits moved, the answer read. Every answer was made by Python; here it is looked up.
import { useEffect, useMemo, useState } from "preact/hooks";
import { isLive, load } from "./documents";
import type { Answer, Limit, Study } from "./documents";
import { axisOf, frontPath, frontPoints } from "./front";
import { Code, Note, Topics } from "./parts";
import { Scatter } from "./scatter";
import type { Change, State } from "./state";

const NOTHING: ReadonlySet<string> = new Set();

/** Stops of a limit from none to the hardest; place 0 sets none. */
const stopAt = (limit: Limit, state: State): number => {
  const given = state.get(`max.${limit.name}`);
  return given === undefined ? 0 : limit.stops.findIndex((s) => String(s.value) === given) + 1;
};

export function Choose({ study, name, state, change }: { study: Study; name: string; state: State; change: (values: Change) => void }) {
  const choices = study.choices;
  const places = choices.limits.map((limit) => stopAt(limit, state));
  const needs = choices.needs.map((need) => state.get(`need.${need.name}`) === "1");
  const admittedBy = (without?: string) => {
    const sets = [
      ...choices.limits.flatMap((l, i) => (places[i] && l.name !== without ? [l.stops[places[i]! - 1]!.admits] : [])),
      ...choices.needs.flatMap((n, i) => (needs[i] && n.name !== without ? [n.admits] : [])),
    ];
    return choices.methods.filter((m) => sets.every((s) => s.includes(m)));
  };
  const admitted = admittedBy();
  const active = [...choices.limits.filter((_, i) => places[i]), ...choices.needs.filter((_, i) => needs[i])];
  const query = new URLSearchParams([
    ...choices.limits.flatMap((l, i): [string, string][] => (places[i] ? [[l.name, String(l.stops[places[i]! - 1]!.value)]] : [])),
    ...choices.needs.flatMap((n, i): [string, string][] => (needs[i] ? [[n.name, "1"]] : [])),
  ]).toString();
  const [asked, setAsked] = useState<{ query: string; answer?: Answer; problem?: string } | null>(null);
  useEffect(() => {
    if (!isLive() || !query) return;
    let current = true;
    load<Answer>(`${name}/choose?${query}`)
      .then((answer) => current && setAsked({ query, answer }))
      .catch((error: Error) => current && setAsked({ query, problem: error.message }));
    return () => { current = false; };
  }, [query, name]);
  const exact = asked?.query === query ? asked.answer : undefined;
  const together = choices.limits.some((l, i) => places[i] && l.apart_from.some((n) => needs[choices.needs.findIndex((m) => m.name === n)]));
  const answer = exact ?? (together ? undefined : choices.answers[admitted.join("\n")]);
  const command = [`peftscope recommend ${study.study.place}`,
    ...choices.limits.flatMap((l, i) => (places[i] ? [`${l.option}${l.stops[places[i]! - 1]!.given}`] : [])),
    ...choices.needs.flatMap((n, i) => (needs[i] && n.option ? [n.option] : []))].join(" ");
  const reset = Object.fromEntries([...choices.limits.map((l) => [`max.${l.name}`, undefined]), ...choices.needs.map((n) => [`need.${n.name}`, undefined])]);
  return (
    <>
      <h1>{study.study.name}: choose</h1>
      <div class="choose">
        <form aria-label="Limits" onSubmit={(event) => event.preventDefault()}>
          <h2 class="unseen">Limits</h2>
          {choices.limits.map((limit, i) => <Slider limit={limit} place={places[i]!} change={change} />)}
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
            {answer ? <Topics topics={answer.topics} />
              : asked?.problem && asked.query === query ? <Note>{asked.problem}</Note>
              : isLive() ? <p class="quiet">Deciding…</p>
              : <Note>The answer under these limits together is not in this file. The command below gives it.</Note>}
          </div>
          {answer && active.length > 0 && (
            <div class="topic"><h3>What each limit cost</h3>
              <ul>{active.map((limit) => {
                const other = choices.answers[admittedBy(limit.name).join("\n")];
                const text = !other ? "not in this file" : other.summary === answer.summary ? "nothing: the answer would be the same" : `instead: ${other.summary}`;
                return <li>Without “{limit.label}”, {text}.</li>;
              })}</ul>
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

function Slider({ limit, place, change }: { limit: Limit; place: number; change: (values: Change) => void }) {
  const stop = place ? limit.stops[place - 1] : undefined;
  const text = stop ? `at most ${stop.label}` : "any";
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
  const picked = useMemo(() => (answer.choice ? new Set([answer.choice]) : NOTHING), [answer]);
  if (!a || !b || !points.length) return null;
  return (
    <figure>
      <Scatter points={points} x={a} y={b} path={path} picked={NOTHING} height={380} label={`${axes[y]!.label} against ${axes[x]!.label}, what the limits leave out is faint`} onPick={() => {}} />
      <figcaption>{picked.size ? `The front of what keeps the limits. Taken: ${answer.choice}.` : "Nothing keeps the limits."}</figcaption>
    </figure>
  );
}
