// Published results: the fronts of two releases set against each other, and how far two runs of one experiment are apart.
import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import { extent, number } from "./chart";
import type { Cell, ReleasedTask, Releases, RepeatedMetric, Table as TableOf } from "./documents";
import { axisOf } from "./front";
import { Note, Problem, Scroll, shortNames, Table, Waiting } from "./parts";
import { beyondText, NONE_PICKED, NO_PATH, Scatter } from "./scatter";
import type { Point } from "./scatter";
import type { Place } from "./state";
import { useDocument } from "./use_document";

export function ReleasesView(place: Place) {
  const found = useDocument<Releases>("releases");
  if (found.problem) return <Problem text={found.problem} />;
  if (!found.value) return <Waiting text="Setting the releases against each other…" />;
  const { tasks, source } = found.value;
  const task = tasks.find((t) => t.key === place.state.get("task")) ?? tasks[0];
  if (!task) return <Note>No published results are in this package.</Note>;
  return (
    <>
      <h1>Published results, release by release</h1>
      <div class="controls">
        <label>task{" "}
          <select value={task.key} onChange={(event) => place.change({ task: event.currentTarget.value, metric: undefined })}>
            {tasks.map((t) => <option value={t.key} selected={t === task}>{t.title}</option>)}
          </select>
        </label>
      </div>
      {task.about.map((line) => <p>{line}</p>)}
      <ul class="plain">{task.releases.map((r) => (
        <li><a href={place.href("explore", { study: r.study })}>{r.title}</a>{r.lines.map((line) => <small>{line}</small>)}</li>
      ))}</ul>
      <Fronts task={task} />
      <Repeated task={task} {...place} />
      <p class="quiet">Source: {source.name}, <Linked text={source.address_text} /> ({source.license}). {source.lines.join(" ")}</p>
    </>
  );
}

/** A text whose first address can be followed. */
function Linked({ text }: { text: string }) {
  const found = /https:\/\/[^\s,]+/.exec(text)?.[0];
  if (!found) return <>{text}</>;
  const [before, after] = text.split(found);
  return <>{before}<a href={found} target="_blank" rel="noreferrer">{found}</a>{after}</>;
}

const STRETCH = 0.6;
const THEN = "var(--muted)";
const NOW = "var(--accent)";
type Placed = ReleasedTask["fronts"]["points"][string][number];

function Fronts({ task }: { task: ReleasedTask }) {
  const { fronts, releases } = task;
  const [then, now] = [releases[0]!, releases.at(-1)!];
  const short = useMemo(() => shortNames(Object.values(fronts.points).flat().map((p) => p.experiment)), [task]);
  const figure = useMemo(() => drawn(task, short), [task, short]);
  return (
    <section id="fronts">
      <h2>{fronts.title}</h2>
      <ul>{fronts.lines.map((line) => <li>{line}</li>)}</ul>
      <figure>
        <Scatter {...figure} picked={NONE_PICKED} label={`${fronts.y} against ${fronts.x}, in both releases`} />
        <figcaption>
          Hollow, dashed: {then.title}. Filled: {now.title}. A thin line joins two runs of one experiment; named are those on a front.{" "}
          {beyondText(figure.points, figure.x, figure.y)}
        </figcaption>
      </figure>
      <Scroll label="On the front of a release">
        <table>
          <thead>
            <tr><th scope="col">experiment</th>{releases.map((r) => <><th scope="col">{r.key}: on the front</th><th scope="col">{fronts.x}</th><th scope="col">{fronts.y}</th></>)}</tr>
          </thead>
          <tbody>{fronts.rows.map((row) => (
            <tr>
              <th scope="row" title={row.experiment}>{short(row.experiment)}</th>
              {releases.map((r) => <>
                <td>{row.in[r.key] ? "yes" : row.figures[r.key] ? "no" : "not run"}</td>
                <td>{row.figures[r.key]?.x ?? "–"}</td><td>{row.figures[r.key]?.y ?? "–"}</td>
              </>)}
            </tr>
          ))}</tbody>
        </table>
      </Scroll>
    </section>
  );
}

const line = (points: Placed[]): [number, number][] =>
  points.filter((p) => p.member).map((p): [number, number] => [p.x, p.y]).sort((p, q) => p[0] - q[0]);

/** Both releases as points; whoever lies far beyond the fronts does not stretch the figure. */
function drawn(task: ReleasedTask, short: (name: string) => string) {
  const { points, axes } = task.fronts;
  const [then, now] = [task.releases[0]!, task.releases.at(-1)!];
  const [first, last] = [points[then.key] ?? [], points[now.key] ?? []];
  const [low, high] = extent([...first, ...last].filter((p) => p.member).map((p) => p.x)) ?? [0, 1];
  const far = high + STRETCH * (high - low);
  const point = (p: Placed, isNow: boolean): Point => ({
    key: `${isNow ? now.key : then.key} ${p.experiment}`,
    name: short(p.experiment),
    x: p.x, y: p.y,
    color: isNow ? NOW : THEN,
    symbol: "circle",
    hollow: !isNow,
    size: p.member ? 5 : 3.5,
    faint: false,
    labelled: !p.member ? 0 : isNow ? 2 : last.some((q) => q.member && q.experiment === p.experiment) ? 0 : 1.5,
    apart: p.x > far,
    lines: () => [`${p.method}, ${isNow ? now.title : then.title}`, `${axes.x.label}: ${number(p.x)} ${axes.x.short}`,
      `${axes.y.label}: ${number(p.y)} ${axes.y.short}`, p.member ? "on the front" : "not on the front"],
  });
  const pairs = first.flatMap((a) => last.filter((b) => b.experiment === a.experiment && Math.max(a.x, b.x) <= far).map((b) => ({ a, b })));
  return {
    points: [...first.map((p) => point(p, false)), ...last.map((p) => point(p, true))],
    x: axisOf(axes.x), y: axisOf(axes.y), path: line(last),
    under: [
      Plot.link(pairs, { x1: (p) => p.a.x, y1: (p) => p.a.y, x2: (p) => p.b.x, y2: (p) => p.b.y, stroke: THEN, strokeOpacity: 0.4 }),
      Plot.line(line(first), { curve: "step-after", stroke: THEN, strokeDasharray: "5 4" }),
    ],
  };
}

function Repeated({ task, state, change }: { task: ReleasedTask } & Place) {
  const found = task.repeated;
  if (!found)
    return <section id="repeated"><h2>What repetition is worth</h2><Note>Nothing of this task was run twice: how far two runs are apart is not known, and a small difference may be luck.</Note></section>;
  const metric = found.metrics.find((m) => m.name === state.get("metric")) ?? found.metrics[0]!;
  return (
    <section id="repeated">
      <h2>What repetition is worth</h2>
      {found.lines.map((line) => <p>{line}</p>)}
      <div class="controls">
        <label>figure{" "}
          <select value={metric.name} onChange={(event) => change({ metric: event.currentTarget.value })}>
            {found.metrics.map((m) => <option value={m.name} selected={m === metric}>{m.label}</option>)}
          </select>
        </label>
      </div>
      <div class="answer">
        <div class="topic">
          <h3>{metric.gap ? `A gap below ${metric.gap} between two single runs may be luck alone` : metric.label}</h3>
          <ul>{metric.lines.map((line) => <li>{line}</li>)}</ul>
        </div>
      </div>
      <Pairs task={task} metric={metric} />
    </section>
  );
}

function Pairs({ task, metric }: { task: ReleasedTask; metric: RepeatedMetric }) {
  const [then, now] = [task.releases[0]!.key, task.releases.at(-1)!.key];
  const { pairs, axis } = metric;
  const short = useMemo(() => shortNames(pairs.map((p) => p.experiment)), [metric]);
  const points = useMemo(() => pairs.map((p): Point => ({
    key: p.experiment, name: short(p.experiment), x: p.first, y: p.second, color: NOW, symbol: "circle", hollow: false, size: 4, faint: false,
    labelled: 0, apart: false, lines: () => [p.method, p.text],
  })), [metric, short]);
  const [x, y] = useMemo(() => [then, now].map((key) => ({ ...axisOf(axis), direction: "neutral", title: `${axis.title}, ${key}` })), [metric]);
  const same = useMemo(() => {
    const [low, high] = extent(pairs.flatMap((p) => [p.first, p.second])) ?? [0, 1];
    return [Plot.link([0], { x1: low, y1: low, x2: high, y2: high, stroke: THEN, strokeDasharray: "4 4" })];
  }, [metric]);
  const table = useMemo<TableOf>(() => {
    const plain = (text: string): Cell => ({ text, sort: null });
    const cell = (value: number): Cell => ({ text: number(value), sort: value });
    const apart = (p: (typeof pairs)[number]) => Number((p.second - p.first).toPrecision(6));
    const rows = [...pairs].sort((p, q) => Math.abs(apart(q)) - Math.abs(apart(p)));
    return {
      headings: [plain("experiment"), plain("method"), plain(`${then}, ${axis.short}`), plain(`${now}, ${axis.short}`), plain("change")],
      rows: rows.map((p) => [{ text: short(p.experiment), sort: p.experiment, method: p.experiment, title: p.experiment }, plain(p.method), cell(p.first), cell(p.second), cell(apart(p))]),
    };
  }, [metric, short]);
  return (
    <>
      <figure>
        <Scatter points={points} x={x!} y={y!} path={NO_PATH} under={same} picked={NONE_PICKED} height={420} label={`${metric.label} in the later release against the earlier one`} />
        <figcaption>Each point is one experiment, run twice. On the dashed line both runs came to the same.</figcaption>
      </figure>
      <Table table={table} caption={`${pairs.length} experiments, those that differ most first`} marks={{}} id="repeated-table" />
    </>
  );
}
