// The page: one study at a time, seen in four ways.
import { useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
import { Choose } from "./choose";
import { Compare } from "./compare";
import { documentName, forget, inPage, isLive, load } from "./documents";
import type { Index, Runs, Study } from "./documents";
import { Explore } from "./explore";
import { Report } from "./report";
import { RunDialog } from "./run";
import { usePlace } from "./state";

const VIEWS: [string, string][] = [["report", "Report"], ["explore", "Explore"], ["compare", "Compare"], ["choose", "Choose"]];
const LOOK_MS = 5000;

type Loaded<T> = { value: T | null; problem: string | null };

/** A document of the server or of the page; what lies in the page is there at the first draw. */
function useDocument<T>(name: string | null, turn: number): Loaded<T> {
  const [found, set] = useState<Loaded<T> & { name: string | null }>({ name: null, value: null, problem: null });
  useEffect(() => {
    if (name === null) return;
    let current = true;
    load<T>(name)
      .then((value) => current && set({ name, value, problem: null }))
      .catch((error: Error) => current && set({ name, value: null, problem: error.message }));
    return () => { current = false; };
  }, [name, turn]);
  if (name !== null && inPage<T>(name) !== undefined) return { value: inPage<T>(name)!, problem: null };
  return found.name === name ? found : { value: null, problem: null };
}

/** Whether the folder has changed since it was read. */
function useChanges(name: string | null, state: string | undefined, turn: number): boolean {
  const [changed, set] = useState(false);
  useEffect(() => {
    set(false);
    if (!name || !state || !isLive()) return;
    let asking = false;
    const timer = setInterval(async () => {
      if (document.hidden || asking) return;
      asking = true;
      const now = await fetch(`api/${documentName(name, "state")}`).then((r) => (r.ok ? r.json() : null)).catch(() => null);
      asking = false;
      if (now && now.state !== state) set(true);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [name, state, turn]);
  return changed;
}

export function App() {
  const { state, change, href } = usePlace();
  const [turn, next] = useState(0);
  const index = useDocument<Index>("index", turn);
  const main = useRef<HTMLElement>(null);
  const studies = index.value?.studies ?? [];
  const key = studies.find((s) => s.key === state.get("study"))?.key ?? studies[0]?.key ?? null;
  const runs = useDocument<Runs>(key && documentName(key, "runs"), turn);
  const read = runs.value !== null || runs.problem !== null;  // what takes long is asked for once the runs are on screen
  const study = useDocument<Study>(key && read ? documentName(key, "study") : null, turn);
  const view = VIEWS.some(([name]) => name === state.view) ? state.view : isLive() ? "explore" : "report";
  const changed = useChanges(key, runs.value?.state, turn);
  const name = studies.find((s) => s.key === key)?.name ?? "";
  useEffect(() => {
    document.title = `${name ? `${name} · ` : ""}${VIEWS.find(([v]) => v === view)?.[1]} · peftscope`;
  }, [name, view]);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else if (!state.get("s")) scrollTo(0, 0);
  }, [view]);
  const again = () => {
    forget();
    next((n) => n + 1);
  };
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to the content</a>
      <header class="top">
        <span class="brand">peftscope</span>
        {studies.length > 1 && (
          <label>study{" "}
            <select value={key ?? ""} onChange={(event) => (location.hash = `#/${view}?study=${encodeURIComponent(event.currentTarget.value)}`)}>
              {studies.map((s) => <option value={s.key} selected={s.key === key}>{studies.filter((o) => o.name === s.name).length > 1 ? `${s.name} (${s.place})` : s.name}</option>)}
            </select>
          </label>
        )}
        <nav aria-label="Views">
          <ul>{VIEWS.map(([v, title]) => <li><a href={href(v)} aria-current={v === view ? "page" : undefined}>{title}</a></li>)}</ul>
        </nav>
      </header>
      <main id="content" ref={main} tabIndex={-1}>
        {changed && <p class="note" role="status">The folder has changed since it was read. <button type="button" onClick={again}>Read it again</button></p>}
        {key && state.get("study") && state.get("study") !== key && <p class="note" role="alert">There is no study “{state.get("study")}” here; this is {name}.</p>}
        {index.problem && <Problem text={index.problem} again={again} />}
        {index.value && !studies.length && <Problem text="There is no study here yet." again={again} />}
        {key && <View key={`${key} ${view}`} view={view} name={key} runs={runs} study={study} state={state} change={change} href={href} again={again} />}
        {!index.value && !index.problem && <Waiting text="Loading…" />}
      </main>
      {key && state.get("run") && <RunDialog id={state.get("run")!} name={key} study={study.value} onClose={() => change({ run: undefined })} />}
      <footer>peftscope {index.value?.version}{isLive() ? "" : " · this file needs no network"}</footer>
    </>
  );
}

const Problem = ({ text, again }: { text: string; again: () => void }) => (
  <div class="note" role="alert"><p>{text}</p>{isLive() && <button type="button" onClick={again}>Try again</button>}</div>
);

type ViewProps = ReturnType<typeof usePlace> & { view: string; name: string; runs: Loaded<Runs>; study: Loaded<Study>; again: () => void };

function View(props: ViewProps) {
  const [failed, reset] = useErrorBoundary();
  if (failed) return <Problem text={`This view cannot be drawn: ${(failed as Error).message ?? failed}`} again={() => { reset(); props.again(); }} />;
  return <Shown {...props} />;
}

function Shown({ view, name, runs, study, state, change, href, again }: ViewProps) {
  if (view === "explore") {
    if (runs.problem) return <Problem text={runs.problem} again={again} />;
    if (!runs.value) return <Waiting text="Reading the records…" />;
    const waiting = study.value ? null
      : study.problem ? `No verdict: ${study.problem}` : `Judging ${runs.value.rows.length.toLocaleString("en")} runs: methods with their intervals follow. Runs can be looked at meanwhile.`;
    return <Explore runs={named(runs.value, study.value)} study={study.value} waiting={waiting} state={state} change={change} />;
  }
  if (study.problem) return <Problem text={study.problem} again={again} />;
  if (!study.value) return <Waiting text="Judging the runs…" />;
  if (view === "compare") return <Compare study={study.value} name={name} state={state} change={change} />;
  if (view === "choose") return <Choose study={study.value} name={name} state={state} change={change} />;
  return <Report study={study.value} state={state} change={change} href={href} />;
}

const told = new WeakMap<Study, Runs>();

/** Runs under the names of the candidates that they are runs of, with the marks these have everywhere. */
function named(runs: Runs, study: Study | null): Runs {
  if (!study) return runs;
  const known = told.get(study);
  if (known?.state === runs.state) return known;
  const rows = runs.rows.map((r) => (study.names[r.id] ? { ...r, method: study.names[r.id]! } : r));
  const found = { ...runs, rows, marks: { ...runs.marks, ...study.methods } };
  told.set(study, found);
  return found;
}

const Waiting = ({ text }: { text: string }) => <div class="waiting"><p class="quiet" role="status">{text}</p></div>;
