// The page: one study at a time, seen in four ways, and what belongs to no study: published releases, methods, memory.
import { useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
import { Choose } from "./choose";
import { Compare } from "./compare";
import { documentName, forget, isLive } from "./documents";
import type { Index, Listed, Runs, Study } from "./documents";
import { Explore } from "./explore";
import { leftPlan, PlanView } from "./plan";
import { Problem, Waiting } from "./parts";
import { ReleasesView } from "./releases";
import { Report } from "./report";
import { RunDialog } from "./run";
import { ShopView } from "./shop";
import { usePlace } from "./state";
import { useDocument } from "./use_document";
import type { Loaded } from "./use_document";

const VIEWS: [string, string][] = [["report", "Report"], ["explore", "Explore"], ["compare", "Compare"], ["choose", "Choose"]];
const PUBLISHED: [string, string][] = [["releases", "Releases"]];
const GENERAL: [string, string][] = [["shop", "Shop"], ["plan", "Plan"]];
const LOOK_MS = 5000;

type FolderChange = "changed" | "gone" | "silent" | null;

/** What has become of the folder since it was read. */
function useChanges(name: string | null, state: string | undefined, turn: number): FolderChange {
  const [change, set] = useState<FolderChange>(null);
  useEffect(() => {
    set(null);
    if (!name || !state || !isLive()) return;
    let [asking, current] = [false, true];
    const timer = setInterval(async () => {
      if (document.hidden || asking) return;
      asking = true;
      const now = await fetch(`api/${documentName(name, "state")}`)
        .then(async (r): Promise<FolderChange> => (r.ok ? ((await r.json()).state === state ? null : "changed") : r.status === 404 ? "gone" : null))
        .catch((): FolderChange => "silent");
      asking = false;
      if (current) set(now);
    }, LOOK_MS);
    return () => {
      current = false;
      clearInterval(timer);
    };
  }, [name, state, turn]);
  return change;
}

/** Above old figures, that they are old. */
function Changed({ change, again }: { change: FolderChange; again: () => void }) {
  if (change === "gone") return <p class="note" role="alert">The folder is gone: what is shown was read before. <button type="button" onClick={again}>Look again</button></p>;
  if (change === "silent") return <p class="note" role="alert">peftscope does not answer: is 'peftscope explore' still running? What is shown was read before.</p>;
  return change && <p class="note" role="status">The folder has changed since it was read. <button type="button" onClick={again}>Read it again</button></p>;
}

/** On paper nothing can be opened: all is open while the page is printed, and then as it was. */
function openedInPrint(): () => void {
  let closed: HTMLDetailsElement[] = [];
  const open = () => {
    closed = [...document.querySelectorAll<HTMLDetailsElement>("main details:not([open])")];
    for (const each of closed) each.open = true;
  };
  const close = () => {
    for (const each of closed) each.open = false;
  };
  addEventListener("beforeprint", open);
  addEventListener("afterprint", close);
  return () => {
    removeEventListener("beforeprint", open);
    removeEventListener("afterprint", close);
  };
}

export function App() {
  const { state, change, href } = usePlace();
  const [turn, next] = useState(0);
  const index = useDocument<Index>("index", turn);
  const main = useRef<HTMLElement>(null);
  const studies = index.value?.studies ?? [];
  const shown = studies.find((s) => s.key === state.get("study")) ?? studies[0];
  const key = shown?.key ?? null;
  const general = [...(index.value?.published ? PUBLISHED : []), ...(index.value?.shop ? GENERAL : [])];
  const views = [...(studies.length || !general.length ? VIEWS : []), ...general];
  const first = !studies.length && general.length ? "shop" : isLive() ? "explore" : "report";
  const view = views.some(([name]) => name === state.view) ? state.view : first;
  const ofStudy = VIEWS.some(([name]) => name === view);
  const runs = useDocument<Runs>(key && ofStudy ? documentName(key, "runs") : null, turn);
  const read = runs.value !== null || runs.problem !== null;  // what takes long is asked for once the runs are on screen
  const study = useDocument<Study>(key && read ? documentName(key, "study") : null, turn);
  const changed = useChanges(key, runs.value?.state, turn);
  const name = ofStudy ? shown?.name ?? "" : "";
  useEffect(() => {
    document.title = `${name ? `${name} · ` : ""}${views.find(([v]) => v === view)?.[1]} · peftscope`;
  }, [name, view]);
  const opened = useRef(true);
  useEffect(() => {
    if (opened.current) opened.current = false;
    else if (!state.get("s")) scrollTo(0, 0);
  }, [view]);
  useEffect(openedInPrint, []);
  const again = () => {
    forget();
    next((n) => n + 1);
  };
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to the content</a>
      <header class="top">
        <span class="brand">peftscope</span>
        {ofStudy && shown && <StudySelect studies={studies} shown={shown} href={(study) => href(view, { study })} />}
        <nav aria-label="Views">
          <ul>{views.map(([v, title]) => <li><a href={href(v, v === "plan" && v !== view ? leftPlan() : {})} aria-current={v === view ? "page" : undefined}>{title}</a></li>)}</ul>
        </nav>
      </header>
      <main id="content" ref={main} tabIndex={-1}>
        <Changed change={changed} again={again} />
        {key && state.get("study") && state.get("study") !== key && <p class="note" role="alert">There is no study “{state.get("study")}” here; this is {name}.</p>}
        {index.problem && <Problem text={index.problem} again={again} />}
        {index.value && !studies.length && ofStudy && <Problem text="There is no study here yet." again={again} />}
        {view === "releases" && <ReleasesView state={state} change={change} href={href} />}
        {view === "shop" && <ShopView state={state} change={change} href={href} />}
        {view === "plan" && <PlanView state={state} change={change} href={href} />}
        {key && ofStudy && <View key={`${key} ${view}`} view={view} name={key} runs={runs} study={study} state={state} change={change} href={href} again={again} />}
        {!index.value && !index.problem && <Waiting text="Loading…" />}
      </main>
      {key && state.get("run") && <RunDialog id={state.get("run")!} name={key} study={study.value} onClose={() => change({ run: undefined })} />}
      <footer>peftscope {index.value?.version}{isLive() || index.value?.folder ? "" : " · this file needs no network"}</footer>
    </>
  );
}

/** Which study is seen; published results are told apart by task and release. */
function StudySelect({ studies, shown, href }: { studies: Listed[]; shown: Listed; href: (study: string) => string }) {
  const own = studies.filter((s) => !s.published);
  const published = studies.filter((s) => s.published);
  const { published: now } = shown;
  const go = (key: string | undefined) => { if (key) location.hash = href(key); };
  const of = (task: string, release: string) =>
    published.find((s) => s.published!.task === task && s.published!.release === release) ?? published.find((s) => s.published!.task === task);
  const kinds = (field: "task" | "release", label: "task_title" | "released") =>
    [...new Map(published.map((s) => [s.published![field], s.published![label]]))];
  return (
    <>
      {own.length + (published.length ? 1 : 0) > 1 && (
        <label>study{" "}
          <select value={now ? "" : shown.key} onChange={(event) => go(event.currentTarget.value || published[0]?.key)}>
            {own.map((s) => <option value={s.key} selected={s === shown}>{own.filter((o) => o.name === s.name).length > 1 ? `${s.name} (${s.place})` : s.name}</option>)}
            {published.length > 0 && <option value="" selected={!!now}>published results</option>}
          </select>
        </label>
      )}
      {now && <>
        <label>published: task{" "}
          <select value={now.task} onChange={(event) => go(of(event.currentTarget.value, now.release)?.key)}>
            {kinds("task", "task_title").map(([task, title]) => <option value={task} selected={task === now.task}>{title}</option>)}
          </select>
        </label>
        <label>release{" "}
          <select value={now.release} onChange={(event) => go(of(now.task, event.currentTarget.value)?.key)}>
            {kinds("release", "released").map(([release, title]) => <option value={release} selected={release === now.release}>{title}</option>)}
          </select>
        </label>
      </>}
    </>
  );
}

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
