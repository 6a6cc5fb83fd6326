// Published results: the fronts of two releases set against each other, and how far two runs of one experiment are apart.
import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import { Chart, decades, extent, number, roomy } from "./chart";
import type { Axis, Cell, ReleasedTask, Releases, RepeatedMetric, Table as TableOf } from "./documents";
import { Note, Problem, Scroll, shorten, shortNames, Table, Waiting } from "./parts";
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
      <p class="quiet">Source: {source.name}, {source.address_text} ({source.license}). {source.lines.join(" ")}</p>
    </>
  );
}

const onAxis = (axis: Axis, values: number[]) => roomy(extent(values) ?? [0, 1], 0.06, axis.scale === "log");

/** How an axis is drawn over a range. */
const scaleOf = (axis: Axis, domain: [number, number]) => ({
  type: axis.scale, domain, label: axis.title, labelArrow: "none" as const, tickFormat: (v: number) => number(v),
  ...(axis.scale === "log" ? { ticks: decades(...domain) } : {}),
});

function Fronts({ task }: { task: ReleasedTask }) {
  const { fronts, releases } = task;
  const [then, now] = [releases[0]!, releases.at(-1)!];
  const short = useMemo(() => shortNames(Object.values(fronts.points).flat().map((p) => p.experiment)), [task]);
  const spec = useMemo(() => (width: number): Plot.PlotOptions => frontPlot(task, short, width), [task, short]);
  return (
    <section id="fronts">
      <h2>{fronts.title}</h2>
      {fronts.lines.map((line) => <p>{line}</p>)}
      <figure>
        <Chart spec={spec} height={440} label={`${fronts.y} against ${fronts.x}, in both releases`} />
        <figcaption>
          Grey, dashed: {then.title}. Blue: {now.title}. A thin line joins two runs of one experiment; named are those on a front.
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

function frontPlot(task: ReleasedTask, short: (name: string) => string, width: number): Plot.PlotOptions {
  const { points, axes } = task.fronts;
  const keys = task.releases.map((r) => r.key);
  const [first, last] = [points[keys[0]!] ?? [], points[keys.at(-1)!] ?? []];
  const all = [...first, ...last];
  const pairs = first.flatMap((a) => last.filter((b) => b.experiment === a.experiment).map((b) => ({ a, b })));
  const line = (given: typeof first) => given.filter((p) => p.member).sort((p, q) => p.x - q.x);
  const names = last.filter((p) => p.member).concat(line(first).filter((p) => !last.some((q) => q.member && q.experiment === p.experiment)));
  const most = width < 520 ? 12 : 26;
  return {
    height: 440, marginLeft: 56, marginBottom: 44, marginTop: 28, marginRight: 20,
    x: scaleOf(axes.x, onAxis(axes.x, all.map((p) => p.x))),
    y: scaleOf(axes.y, onAxis(axes.y, all.map((p) => p.y))),
    marks: [
      Plot.gridX({ stroke: "var(--grid)", strokeOpacity: 1 }), Plot.gridY({ stroke: "var(--grid)", strokeOpacity: 1 }),
      Plot.link(pairs, { x1: (p) => p.a.x, y1: (p) => p.a.y, x2: (p) => p.b.x, y2: (p) => p.b.y, stroke: "var(--muted)", strokeOpacity: 0.35 }),
      Plot.line(line(first), { x: "x", y: "y", curve: "step-after", stroke: "var(--muted)", strokeDasharray: "5 4" }),
      Plot.line(line(last), { x: "x", y: "y", curve: "step-after", stroke: "var(--accent)", strokeWidth: 1.5 }),
      Plot.dot(first, { x: "x", y: "y", r: 3.5, stroke: "var(--muted)", fill: "var(--panel)" }),
      Plot.dot(last, { x: "x", y: "y", r: 4, fill: "var(--accent)", fillOpacity: 0.85 }),
      Plot.text(names, { x: "x", y: "y", text: (p) => shorten(short(p.experiment), most), dy: -11, fill: "currentColor", stroke: "var(--panel)", strokeWidth: 3 }),
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
          <h3>{metric.gap ? `A gap below ${metric.gap} between two single runs says nothing` : metric.label}</h3>
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
  const spec = useMemo(() => (width: number): Plot.PlotOptions => {
    const domain = onAxis(axis, pairs.flatMap((p) => [p.first, p.second]));
    const scale = { ...scaleOf(axis, domain) };
    return {
      height: Math.min(440, width * 0.9), marginLeft: 56, marginBottom: 44, marginTop: 28,
      x: { ...scale, label: `${axis.title}, ${then}` }, y: { ...scale, label: `${axis.title}, ${now}` },
      marks: [
        Plot.gridX({ stroke: "var(--grid)", strokeOpacity: 1 }), Plot.gridY({ stroke: "var(--grid)", strokeOpacity: 1 }),
        Plot.link([0], { x1: domain[0], y1: domain[0], x2: domain[1], y2: domain[1], stroke: "var(--muted)", strokeDasharray: "4 4" }),
        Plot.dot(pairs, { x: "first", y: "second", r: 4, fill: "var(--accent)", fillOpacity: 0.75 }),
        Plot.tip(pairs, Plot.pointer({ x: "first", y: "second", title: (p: (typeof pairs)[number]) => `${short(p.experiment)}\n${p.text}`, fill: "var(--panel)" })),
      ],
    };
  }, [metric, short]);
  const table = useMemo<TableOf>(() => {
    const plain = (text: string): Cell => ({ text, sort: null });
    const cell = (value: number): Cell => ({ text: number(value), sort: value });
    const apart = (p: (typeof pairs)[number]) => Number((p.second - p.first).toPrecision(6));
    const rows = [...pairs].sort((p, q) => Math.abs(apart(q)) - Math.abs(apart(p)));
    return {
      headings: [plain("experiment"), plain("method"), plain(`${then}, ${axis.short}`), plain(`${now}, ${axis.short}`), plain("later less earlier")],
      rows: rows.map((p) => [{ text: short(p.experiment), sort: p.experiment, method: p.experiment, title: p.experiment }, plain(p.method), cell(p.first), cell(p.second), cell(apart(p))]),
    };
  }, [metric, short]);
  return (
    <>
      <figure>
        <Chart spec={spec} height={400} label={`${metric.label} in the later release against the earlier one`} />
        <figcaption>Each point is one experiment, run twice. On the dashed line both runs came to the same.</figcaption>
      </figure>
      <Table table={table} caption={`${pairs.length} experiments, those that differ most first`} marks={{}} id="repeated-table" />
    </>
  );
}
