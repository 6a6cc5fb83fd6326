// All runs: filtered, drawn over any two metrics, grouped by a setting, picked in the plot or in the table, saved.
import { useMemo, useRef } from "preact/hooks";
import type { Drawn } from "./chart";
import { number } from "./chart";
import type { Cell, Reading, Run, Runs, Study, Table as TableOf } from "./documents";
import { axisOf, frontFor, frontPath, frontPoints, placeText } from "./front";
import { Mark } from "./marks";
import { count, keyOf, LinesOf, Table } from "./parts";
import { axesChanged, axesIn, AxisSelect } from "./axes";
import { csv, savePng, saveSvg, saveText } from "./save";
import { beyondText, NO_PATH, Scatter } from "./scatter";
import type { Point } from "./scatter";
import { address } from "./state";
import type { Change, State } from "./state";

type Props = { runs: Runs; study: Study | null; waiting: string | null; state: State; change: (values: Change) => void };
type Field = "method" | "task" | "model" | "conditions" | "version" | "purpose" | "status";
type Shown = "methods" | "runs" | "groups";

const BY = "by";

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
/** Of a sample; nothing of fewer than two. */
const deviation = (values: number[]): number | null => {
  if (values.length < 2) return null;
  const m = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - m) ** 2, 0) / (values.length - 1));
};

const OF_RUNS = ["purpose", "status"];
const ALL = "*";
const MOST_KEYS = 24;

/** A filter as the address has it; final runs are looked at unless trials are asked for. */
const filterIn = (state: State, name: string): string => {
  const given = state.get(`f.${name}`) ?? (name === "purpose" ? "final" : "");
  return given === ALL ? "" : given;
};

/** A table as rows of a file: figures in the unit of their heading. */
const rowsOf = (table: TableOf): (string | number | null)[][] => {
  const wide = table.headings.map((_, i) => table.rows.some((r) => r[i]?.ends));
  return [
    table.headings.flatMap((h, i) => (wide[i] ? [h.text, `${h.text}, low`, `${h.text}, high`] : [h.text])),
    ...table.rows.map((r) => r.flatMap((c, i) => {
      const value = c.run ?? (typeof c.sort === "number" ? c.sort : c.text);
      return wide[i] ? [value, c.ends?.[0] ?? null, c.ends?.[1] ?? null] : [value];
    })),
  ];
};

/** In the unit of the axis, without the dust of binary fractions. */
const scaled = (value: number, factor: number) => Number((value * factor).toPrecision(12));

const valuesOf = (rows: Run[], field: string) => [...new Set(rows.map((r) => String(r[field as Field])))].sort();
const settingOf = (run: Run, name: string): string =>
  name === "method" ? run.method : name === "learning_rate" ? (run.learning_rate === null ? "–" : String(run.learning_rate))
    : name === "seed" ? String(run.seed) : (run.settings[name] ?? "–");

export function Explore({ runs, study, waiting, state, change }: Props) {
  const asked = state.get("show") as Shown | undefined;
  const shown: Shown = asked === "runs" || asked === "groups" ? asked : study?.front.default ? "methods" : asked === "methods" ? "methods" : "runs";
  const drawn: Shown = shown === "methods" && !study?.front.default ? "runs" : shown;
  const axes = drawn === "methods" && study ? study.front.axes : runs.axes;
  const filters = useMemo(
    () => runs.filters
      .map((f) => ({ ...f, values: valuesOf(runs.rows, f.name), value: filterIn(state, f.name), idle: drawn === "methods" && OF_RUNS.includes(f.name) }))
      .filter((f) => f.values.length > 1)
      .map((f) => ({ ...f, value: f.name === "purpose" && f.value === "final" && !f.values.includes("final") ? "" : f.value })),
    [runs, state, drawn],
  );
  const kept = useMemo(
    () => runs.rows.filter((r) => filters.every((f) => !f.value || f.idle || String(r[f.name as Field]) === f.value)),
    [runs, filters],
  );
  const first = useMemo<[string, string]>(() => startAxes(runs, kept, drawn === "methods" ? study : null), [runs, kept, study, drawn]);
  const [x, y] = axesIn(state, first, axes, runs.score);
  const unknown = [
    ...["x", "y"].map((k) => state.get(k)).filter((n) => n && !Object.hasOwn(axes, n) && n !== runs.score && n !== "test_score").map((n) => `There is no figure “${n}” here.`),
    ...filters.filter((f) => f.value && !f.values.includes(f.value)).map((f) => `No run has ${f.label} “${f.value}”.`),
  ];
  const picked = useMemo(() => new Set((state.get("pick") ?? "").split("\n").filter(Boolean)), [state.get("pick")]);
  const only = state.get("only") === "1";
  const by = state.get(BY) && (["method", "learning_rate", "seed", ...runs.settings].includes(state.get(BY)!)) ? state.get(BY)! : "method";
  const figure = useRef<Drawn | null>(null);
  const open = (id: string) => change({ run: id });

  const groups = useMemo(() => (drawn === "groups" ? groupsOf(kept, by, x, y, runs) : []), [drawn, kept, by, x, y, runs]);
  const points = useMemo<Point[]>(() => {
    if (drawn === "methods" && study) {
      const found = frontFor(study, x, y);
      const left = new Set(kept.map((r) => r.method));
      return found ? frontPoints(study, x, y, found, filters.some((f) => f.value && !f.idle) ? left : undefined, "filters") : [];
    }
    return drawn === "groups" ? groupPoints(groups, runs, x, y, by) : runPoints(kept, runs, x, y);
  }, [drawn, study, kept, groups, runs, x, y, filters, by]);
  const path = useMemo(() => {
    const found = drawn === "methods" && study ? frontFor(study, x, y) : undefined;
    return found && study ? frontPath(study, x, y, found) : NO_PATH;
  }, [drawn, study, x, y]);
  const table = useMemo(
    () => (drawn === "methods" && study ? methodTable(study, points, x, y) : drawn === "groups" ? groupTable(groups, runs, x, y, by) : runTable(kept, runs, x, y)),
    [drawn, study, points, groups, kept, runs, x, y, by],
  );
  const inTable = useMemo(
    () => (picked.size && only ? { ...table, rows: table.rows.filter((row) => picked.has(keyOf(row))) } : table),
    [table, picked, only],
  );
  const none = runs.rows.every((r) => !Object.keys(r.metrics).length);
  const [a, b] = [useMemo(() => axes[x] && axisOf(axes[x]), [axes, x]), useMemo(() => axes[y] && axisOf(axes[y]), [axes, y])];
  const keys = useMemo(() => [...new Set(kept.map((r) => r.method))].sort(), [kept]);
  const pick = (keys: string[], more: boolean) => {
    const only = keys.length === 1 && picked.size === 1 && picked.has(keys[0]!);
    const next = more ? [...new Set([...picked, ...keys])].filter((k) => !(keys.length === 1 && picked.has(k) && k === keys[0])) : only ? [] : keys;
    change({ pick: next.join("\n") || undefined, only: next.length ? "1" : undefined });
  };
  const toggle = (key: string) => {
    const next = picked.has(key) ? [...picked].filter((k) => k !== key) : [...picked, key];
    change({ pick: next.join("\n") || undefined, only: next.length && only ? "1" : undefined });
  };
  const single = study !== null && Object.values(study.methods).every((m) => m.single);
  const title = `${runs.name}: ${axes[y]?.label ?? y} against ${axes[x]?.label ?? x}. ${caption(drawn, by, single)}`;
  const name = `${runs.name}-${y}-against-${x}`;
  const words = { methods: "method", runs: "run", groups: "group" }[drawn];
  const setShown = (value: string) => change({ show: value, pick: undefined, only: undefined });

  return (
    <>
      <h1>{runs.name}: all its runs</h1>
      <p class="state" role="status">{waiting ?? told(runs)}</p>
      {[...unknown, ...runs.notes].map((note) => <p class="note">{note}</p>)}
      <form class="controls" aria-label="What is drawn" onSubmit={(event) => event.preventDefault()}>
        <label>points are{" "}
          <select value={drawn} onChange={(event) => setShown(event.currentTarget.value)}>
            <option value="methods" selected={drawn === "methods"} disabled={!study?.front.default}>{single ? "methods" : "methods, with their intervals"}</option>
            <option value="runs" selected={drawn === "runs"}>single runs</option>
            <option value="groups" selected={drawn === "groups"}>groups of runs, mean and SD</option>
          </select>
        </label>
        {drawn === "groups" && (
          <label>grouped by{" "}
            <select value={by} onChange={(event) => change({ [BY]: event.currentTarget.value, pick: undefined, only: undefined })}>
              {["method", "learning_rate", "seed", ...runs.settings].map((s) => <option value={s} selected={s === by}>{s.replaceAll("_", " ")}</option>)}
            </select>
          </label>
        )}
        {!none && <AxisSelect label="across" value={x} axes={axes} onChange={(value) => change(axesChanged([x, y], 0, value))} />}
        {!none && <AxisSelect label="up" value={y} axes={axes} onChange={(value) => change(axesChanged([x, y], 1, value))} />}
        {filters.map((f) => (
          <label>{f.label}{" "}
            <select value={f.value} disabled={f.idle} title={f.idle ? "Methods are judged by their final runs." : undefined} onChange={(event) => change({ [`f.${f.name}`]: event.currentTarget.value || (f.name === "purpose" ? ALL : undefined), pick: undefined, only: undefined })}>
              <option value="" selected={!f.value}>all {f.values.length}</option>
              {f.values.map((v) => <option value={v} selected={v === f.value}>{v}</option>)}
            </select>
          </label>
        ))}
      </form>
      {a && b && points.length > 0 ? (
        <figure>
          <Scatter points={points} x={a} y={b} path={path} picked={picked} label={`${axes[y]!.label} against ${axes[x]!.label}, a point per ${words}`}
            onPick={pick} onOpen={drawn === "runs" ? open : undefined} figure={figure} />
          <figcaption>
            {caption(drawn, by, single)}{" "}
            {drawn === "runs" && points.length < kept.length && `${kept.length - points.length} of ${kept.length} have no such figure and are not drawn. `}
            {beyondText(points, a, b)}{" "}
            <span class="fine">Drag a box to pick some, click one to pick it, Shift adds.</span>
          </figcaption>
          {drawn !== "groups" && keys.length <= MOST_KEYS && (
            <p class="keys">{keys.map((method) => <span><Mark mark={markOf(runs, method)} />{method}</span>)}</p>
          )}
        </figure>
      ) : <p class="note">{none ? "No run has a figure yet." : kept.length ? `${kept.length === 1 ? "This run has not" : `None of these ${kept.length} runs has`} both figures: choose other axes.` : "No run passes these filters."}</p>}
      {drawn === "methods" && study?.notes.map((note) => <p class="note">{note}</p>)}
      <div class="controls" role="group" aria-label="Selection and files">
        <span role="status">{picked.size ? `${picked.size} of ${count(table.rows.length, words)} picked` : count(table.rows.length, words)}</span>
        {picked.size > 0 && <button type="button" onClick={() => change({ pick: undefined, only: undefined })}>{only ? "Show all again" : "Pick none"}</button>}
        {picked.size > 0 && !only && <button type="button" onClick={() => change({ only: "1" })}>Show these alone</button>}
        {drawn !== "groups" && picked.size >= 2 && picked.size <= 5 &&
          <a class="button" href={address("compare", { study: state.get("study"), [drawn === "methods" ? "m" : "r"]: [...picked].join("\n") })}>Compare these {picked.size}</a>}
        <button type="button" onClick={() => saveText(`${name}.csv`, csv(rowsOf(inTable)), "text/csv")}>CSV</button>
        {points.length > 0 && <>
          <button type="button" onClick={() => figure.current && savePng(`${name}.png`, figure.current, title)}>PNG</button>
          <button type="button" onClick={() => figure.current && saveSvg(`${name}.svg`, figure.current, title)}>SVG</button>
        </>}
      </div>
      <Table key={`${drawn}${x}${y}${by}`} table={inTable} caption={{ methods: "Methods", runs: "Runs", groups: `Groups by ${by.replaceAll("_", " ")}` }[drawn]}
        marks={runs.marks} id="explore-table" runAt={(id) => address("explore", { ...state.all, run: id })} picked={picked} onPick={toggle} />
      {runs.constant.length > 0 && <details><summary>Settings that all runs share</summary><LinesOf lines={runs.constant} /></details>}
    </>
  );
}

/** What the folder holds. */
function told(runs: Runs): string {
  const finals = runs.rows.filter((r) => r.purpose === "final").length;
  const others = runs.rows.length - finals;
  return `${count(finals, "final run")}${others ? `, ${count(others, "trial")}` : ""} · ${count(new Set(runs.rows.map((r) => r.method)).size, "method")} · ${[...new Set(runs.rows.map((r) => r.model))].join(", ")}`;
}

const caption = (shown: Shown, by: string, single = false) =>
  ({
    methods: single ? "Each point is a method that was trained once: no interval is known. The line is the front of all methods." : "Each point is a method: the score with its interval, costs with the range over its seeds. The line is the front of all methods.",
    runs: "Each point is one run as it was measured; a single run has no interval.",
    groups: `Each point is the mean over the runs of one ${by.replaceAll("_", " ")}, its bars one standard deviation (SD) of them, which is no interval of the mean.`,
  })[shown];

function startAxes(runs: Runs, rows: Run[], study: Study | null): [string, string] {
  if (study?.front.default) return study.front.default;
  const found: Record<string, number> = {};
  for (const r of rows) for (const name in r.metrics) found[name] = (found[name] ?? 0) + 1;
  const counts = (name: string) => found[name] ?? 0;
  const better = Object.keys(runs.axes).filter((n) => runs.axes[n]!.direction !== "neutral" && counts(n));
  const y = better[0] ?? Object.keys(runs.axes)[0] ?? "";
  const others = (better.length > 1 ? better : Object.keys(runs.axes)).filter((n) => n !== y && !n.startsWith("valid_"));
  const x = others.find((n) => n.startsWith("peak_train_memory") && counts(n)) ?? others.sort((a, b) => counts(b) - counts(a))[0] ?? y;
  return [x, y];
}

const markOf = (runs: Runs, method: string) => runs.marks[method] ?? { color: "#848b94", symbol: "circle" };

/** A figure in the unit of its axis; a zero on a logarithmic axis stands on its floor. */
const placed = (runs: Runs, name: string, value: number) => {
  const axis = runs.axes[name]!;
  const drawn = value * axis.factor;
  return axis.floor === null ? drawn : Math.max(drawn, axis.floor);
};
const textOf = (runs: Runs, name: string, value: number | undefined | null) =>
  value === undefined || value === null ? "–" : inWords(value * runs.axes[name]!.factor, runs.axes[name]!.short);

const SMALLER: Record<string, [string, number]> = {
  GB: ["MB", 1e3], MB: ["kB", 1e3], kB: ["bytes", 1e3], billions: ["millions", 1e3], millions: ["thousands", 1e3], thousands: ["", 1e3], s: ["ms", 1e3],
};

/** A figure with its unit, or a smaller one where it would begin with zeros. */
function inWords(value: number, unit: string): string {
  let [shown, name] = [value, unit];
  while (shown !== 0 && Math.abs(shown) < 0.5 && SMALLER[name]) [shown, name] = [shown * SMALLER[name]![1], SMALLER[name]![0]];
  return `${number(shown)}${name ? ` ${name}` : ""}`;
}

function runPoints(rows: Run[], runs: Runs, x: string, y: string): Point[] {
  return rows.flatMap((r) => {
    const [a, b] = [r.metrics[x], r.metrics[y]];
    if (a === undefined || b === undefined) return [];
    const mark = markOf(runs, r.method);
    return [{
      key: r.id, name: `${r.method}, seed ${r.seed}`, x: placed(runs, x, a), y: placed(runs, y, b), color: mark.color, symbol: mark.symbol,
      hollow: true, size: 4.5, faint: false, labelled: 0, apart: false,
      lines: () => [`${r.purpose}${r.learning_rate === null ? "" : `, lr ${r.learning_rate}`}, ${r.status}`,
        `${runs.axes[x]!.label}: ${textOf(runs, x, a)}`, `${runs.axes[y]!.label}: ${textOf(runs, y, b)}`],
    }];
  });
}

type Group = { name: string; rows: Run[]; x: number[]; y: number[]; mark: { color: string; symbol: string } };

function groupsOf(rows: Run[], by: string, x: string, y: string, runs: Runs): Group[] {
  const found = new Map<string, Run[]>();
  for (const r of rows) {
    const name = settingOf(r, by);
    const own = found.get(name);
    if (own) own.push(r);
    else found.set(name, [r]);
  }
  const known = (given: Run[], name: string) => given.map((r) => r.metrics[name]).filter((v): v is number => v !== undefined);
  return [...found].map(([name, own]) => ({
    name, rows: own, x: known(own, x), y: known(own, y),
    mark: by === "method" ? markOf(runs, name) : { color: "#0077bb", symbol: "circle" },
  })).sort((a, b) => byNumber(a.name, b.name));
}

/** Numbers by their value, then other names. */
function byNumber(a: string, b: string): number {
  const [p, q] = [Number(a), Number(b)];
  if (Number.isNaN(p) || Number.isNaN(q)) return Number(Number.isNaN(p)) - Number(Number.isNaN(q)) || a.localeCompare(b, undefined, { numeric: true });
  return p - q;
}

function groupPoints(groups: Group[], runs: Runs, x: string, y: string, by: string): Point[] {
  return groups.flatMap((g) => {
    if (!g.x.length || !g.y.length) return [];
    const [mx, my] = [mean(g.x), mean(g.y)];
    const bars = (name: string, values: number[]): [number, number] | null => {
      const sd = deviation(values);
      return sd === null ? null : [placed(runs, name, mean(values) - sd), placed(runs, name, mean(values) + sd)];
    };
    const told = (name: string, values: number[]) =>
      `${runs.axes[name]!.label}: ${textOf(runs, name, mean(values))}, SD ${textOf(runs, name, deviation(values))}, ${count(values.length, "run")}`;
    return [{
      key: g.name, name: by === "method" ? g.name : `${by.replaceAll("_", " ")} ${g.name}`, x: placed(runs, x, mx), y: placed(runs, y, my), xEnds: bars(x, g.x), yEnds: bars(y, g.y),
      color: g.mark.color, symbol: g.mark.symbol, hollow: g.y.length < 2, size: 6, faint: false, labelled: groups.length <= 40 ? 1 : 0,
      apart: false, lines: () => [told(x, g.x), told(y, g.y)],
    }];
  });
}

function runTable(rows: Run[], runs: Runs, x: string, y: string): TableOf {
  const figures = [x, y].filter((name) => runs.axes[name]);
  const heads = ["run", "method", "purpose", "lr", "seed", "status", ...figures.map((name) => runs.axes[name]!.title)];
  return {
    headings: heads.map((text) => ({ text, sort: null })),
    rows: rows.map((r): Cell[] => [
      { text: r.id.slice(0, 8), sort: r.id, title: r.id, run: r.id, key: r.id }, { text: r.method, sort: r.method, method: r.method }, { text: r.purpose, sort: r.purpose },
      { text: r.learning_rate === null ? "–" : String(r.learning_rate), sort: r.learning_rate }, { text: String(r.seed), sort: r.seed }, { text: r.status, sort: r.status },
      ...figures.map((name): Cell => ({ text: textOf(runs, name, r.metrics[name]), sort: r.metrics[name] === undefined ? null : scaled(r.metrics[name]!, runs.axes[name]!.factor) })),
    ]),
  };
}

function groupTable(groups: Group[], runs: Runs, x: string, y: string, by: string): TableOf {
  const heads = [by.replaceAll("_", " "), "runs", ...[x, y].flatMap((name) => [`mean of ${runs.axes[name]?.title ?? name}`, "SD", "n"])];
  return {
    headings: heads.map((text) => ({ text, sort: null })),
    rows: groups.map((g): Cell[] => [
      { text: g.name, sort: Number.isNaN(Number(g.name)) ? g.name : Number(g.name), ...(by === "method" ? { method: g.name } : {}) }, { text: String(g.rows.length), sort: g.rows.length },
      ...([[x, g.x], [y, g.y]] as [string, number[]][]).flatMap(([name, values]): Cell[] => {
        const [m, sd] = [values.length ? mean(values) : null, deviation(values)];
        const inUnit = (v: number | null) => (v === null ? null : scaled(v, runs.axes[name]!.factor));
        return [{ text: textOf(runs, name, m), sort: inUnit(m) }, { text: textOf(runs, name, sd), sort: inUnit(sd) }, { text: String(values.length), sort: values.length }];
      }),
    ]),
  };
}

const figure = (r: Reading, factor: number): Cell => {
  const [value, low, high] = r.exact.map((v) => (v === null ? null : scaled(v, factor)));
  return { text: r.text, sort: value!, title: r.range ? `${r.range}: ${r.spread}` : r.spread, ends: low == null || high == null ? undefined : [low, high] };
};

function methodTable(study: Study, points: Point[], x: string, y: string): TableOf {
  const found = frontFor(study, x, y);
  const heads = ["method", study.front.axes[x]!.title, study.front.axes[y]!.title, "on the front", "probability", "tier"];
  return {
    headings: heads.map((text) => ({ text, sort: null })),
    rows: points.filter((p) => !p.faint).map((p): Cell[] => {
      const [a, b, m] = [study.front.points[x]![p.key]!, study.front.points[y]![p.key]!, study.methods[p.key]];
      const chance = found?.membership[p.key];
      return [
        { text: p.key, sort: p.key, method: p.key }, figure(a, study.front.axes[x]!.factor), figure(b, study.front.axes[y]!.factor),
        { text: found?.members.includes(p.key) ? "yes" : "no", sort: null }, { text: placeText(chance, m), sort: chance ?? null },
        { text: m?.tier ? String(m.tier) : "–", sort: m?.tier ?? null },
      ];
    }),
  };
}

