// Scores with intervals, learning rates, training curves.
import * as Plot from "@observablehq/plot";
import { useMemo, useState } from "preact/hooks";
import { Chart, decades, extent, number, rateText, roomy, unstretched } from "./chart";
import type { Line, Method, Rates, Study } from "./documents";
import { Mark, SYMBOLS } from "./marks";
import { shorten, shortNames } from "./parts";

const ROW_PX = 26;
const AT_FIRST = 8;
const MOST_TICKS = 20;
const identity = { color: { type: "identity" }, symbol: { type: "identity" }, r: { type: "identity" } } as const;
const grids = (across: Plot.GridXOptions = {}) => [Plot.gridX({ ...across, stroke: "var(--grid)", strokeOpacity: 1 }), Plot.gridY({ stroke: "var(--grid)", strokeOpacity: 1 })];

/** Score with its interval by method, best first; a line between tiers. */
export function Tiers({ study }: { study: Study }) {
  const { points, axis } = study.tiers;
  const height = 60 + ROW_PX * points.length;
  const spec = useMemo(
    () => (width: number) => {
      const rows = points.map((p, row) => ({ ...p, row, mark: study.methods[p.method]! }));
      const short = shortNames(rows.map((p) => p.method));
      const own = rows.filter((p) => !p.is_base);
      const values = (given: typeof rows): [number, number] | null => extent(given.flatMap((p) => [p.value, p.low, p.high]));
      const outer = values(rows) ?? [0, 1];
      const inner = (own.length ? values(own) : null) ?? outer;
      const domain = roomy(unstretched(inner, outer, false), 0.06, false);
      const inside = (v: number) => Math.min(Math.max(v, domain[0]), domain[1]);
      const base = rows.find((p) => p.is_base);
      const starts = rows.filter((p, i) => i > 0 && p.tier !== rows[i - 1]!.tier);
      const firsts = rows.filter((p, i) => p.tier !== null && (i === 0 || p.tier !== rows[i - 1]!.tier));
      const left = Math.min(width < 520 ? 130 : 260, 20 + 7 * Math.max(...rows.map((p) => short(p.method).length + (p.risk ? 2 : 0))));
      return {
        height,
        marginLeft: left,
        marginRight: 56,
        marginTop: 8,
        marginBottom: 44,
        ...identity,
        x: { domain, label: null },
        y: { type: "linear", domain: [points.length - 0.4, -0.6], label: null, axis: null },
        marks: [
          Plot.gridX({ stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.axisX({ label: axis, labelAnchor: "center", labelArrow: "none", labelOffset: 40, tickFormat: number, ticks: width < 520 ? 5 : 8 }),
          base && Plot.ruleX([inside(base.value)], { stroke: "var(--muted)", strokeDasharray: "2,3" }),
          Plot.ruleY(starts, { y: (p) => p.row - 0.5, stroke: "var(--line)" }),
          Plot.text(rows, {
            x: () => domain[0], y: "row", dx: -10, textAnchor: "end", fontSize: 12.5,
            text: (p: { method: string; risk: string }) => shorten(short(p.method), Math.floor((left - 20) / 7)) + (p.risk ? " ⚠" : ""),
          }),
          Plot.text(firsts, { x: () => domain[1], y: "row", dx: 8, textAnchor: "start", text: (p: { tier: number | null }) => `tier ${p.tier}`, fill: "var(--muted)" }),
          Plot.link(rows.filter((p) => p.low !== null && p.high !== null), {
            x1: (p) => inside(p.low!), x2: (p) => inside(p.high!), y1: "row", y2: "row", stroke: (p) => p.mark.color, strokeWidth: 2,
          }),
          Plot.dot(rows, {
            x: (p: { value: number }) => inside(p.value), y: "row", r: 5.5, symbol: (p: { mark: Method }) => SYMBOLS[p.mark.symbol],
            fill: (p: { single: boolean; mark: Method }) => (p.single ? "var(--panel)" : p.mark.color), stroke: (p: { mark: Method }) => p.mark.color, strokeWidth: 2,
            title: (p: Study["tiers"]["points"][number]) => `${p.method}\n${p.text}\n${p.tier ? `tier ${p.tier}` : "no tier"}, ${p.spread}${p.risk}`,
          }),
        ],
      } as Plot.PlotOptions;
    },
    [study],
  );
  return <Chart spec={spec} height={height} label="Score with interval by method, as in the table below" id="figure-tiers" />;
}

/** One method's trials by learning rate. A trial that was stopped has the loss it had reached, and no score. */
export function RatePanel({ entry, kind, span, study }: { entry: Rates; kind: "score" | "loss"; span: [number, number]; study: Study }) {
  const mark = study.methods[entry.method];
  const color = mark?.color ?? "currentColor";
  const spec = useMemo(
    () => () => {
      const known = entry.trials.filter((t) => t[kind] !== null);
      const done = known.filter((t) => t.state === "done");
      const lost = known.filter((t) => t.state !== "done");
      const rates = entry.trials.map((t) => t.rate);
      const domain: [number, number] = rates.length ? [Math.min(...rates) / 1.8, Math.max(...rates) * 1.8] : [1e-5, 1e-2];
      const [lower, higher] = entry.bracket;
      const { factor, short } = kind === "score" ? scoreUnit(study) : PLAIN;
      const inUnit = (v: number) => `${number(v * factor)}${short && ` ${short}`}`;
      const y = { domain: span, label: null, type: kind === "loss" && span[0] > 0 ? "log" : "linear" };
      return {
        height: 200,
        marginLeft: 50,
        marginRight: 14,
        marginTop: 10,
        marginBottom: 40,
        ...identity,
        x: { type: "log", domain, label: null },
        y,
        marks: [
          lower !== null && higher !== null
            ? Plot.rect([0], { x1: lower, x2: higher, y1: span[0], y2: span[1], fill: color, fillOpacity: 0.12 }) : null,
          Plot.gridX({ ticks: decades(...domain), stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.gridY({ ticks: y.type === "log" ? scaled(span) : 5, stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.axisX({ ticks: decades(...domain), tickFormat: rateText, label: "learning rate", labelAnchor: "center", labelArrow: "none", labelOffset: 36 }),
          Plot.axisY({ ticks: y.type === "log" ? scaled(span) : 5, tickFormat: inUnit, label: null }),
          entry.rate !== null ? Plot.ruleX([entry.rate], { stroke: color, strokeDasharray: "5,4" }) : null,
          Plot.line(entry.means.filter((m) => m[kind] !== null), { x: "rate", y: kind, stroke: color, strokeWidth: 1.8 }),
          kind === "loss" ? Plot.line(entry.short, { x: "rate", y: "loss", stroke: color, strokeWidth: 1.2, strokeDasharray: "2,3" }) : null,
          Plot.dot(done, { x: "rate", y: kind, r: 4, symbol: SYMBOLS[mark?.symbol ?? "circle"], fill: color, title: "text" }),
          Plot.dot(lost, { x: "rate", y: kind, r: 3.5, symbol: "times", stroke: color, strokeWidth: 2, title: "text" }),
          Plot.dot(done.filter((t) => t.chosen), { x: "rate", y: kind, r: 9, stroke: color, strokeWidth: 2.2 }),
        ],
      } as Plot.PlotOptions;
    },
    [entry, kind, span, study],
  );
  return <Chart spec={spec} height={200} label={`Validation ${kind} of the trials of ${entry.method} by learning rate`} />;
}

export function spanOf(entries: Rates[], kind: "score" | "loss"): [number, number] | null {
  const found = extent(entries.flatMap((e) => [...e.trials.map((t) => t[kind]), ...(kind === "loss" ? e.short.map((s) => s.loss) : [])]));
  return found && roomy(found, 0.08, kind === "loss" && found[0] > 0);
}

/** Few ticks of a logarithmic axis, also within one power of ten. */
function scaled([low, high]: [number, number]): number[] {
  const found = decades(low, high);
  return found.length > 1 ? found : [low * 1.05, Math.sqrt(low * high), high / 1.05].map((v) => Number(v.toPrecision(2)));
}

type Unit = { factor: number; short: string };
const PLAIN: Unit = { factor: 1, short: "" };

/** What a validation score is told in: the unit of the score that is ranked. */
const scoreUnit = (study: Study): Unit => Object.values(study.front.axes).find((axis) => axis.title === study.tiers.axis) ?? PLAIN;

type Drawing = { name: string; method: string; line: Line; ended: boolean };

/** Lines over steps, a method switched on or off by its button. */
function Courses({ lines, x, y, methods, label, step, unit = PLAIN }: {
  lines: Drawing[]; x: string; y: string; methods: Record<string, Method>; label: string; step?: boolean; unit?: Unit;
}) {
  const names = useMemo(() => [...new Set(lines.map((l) => l.method))], [lines]);
  const [shown, show] = useState<ReadonlySet<string>>(() => new Set(names.slice(0, AT_FIRST)));
  const spec = useMemo(
    () => () => {
      const drawn = lines.filter((l) => shown.has(l.method));
      const valueOf = (l: Drawing, i: number) => (l.line.values[i] ?? NaN) * unit.factor;
      const last = Math.max(1, ...drawn.flatMap((l) => l.line.steps));
      const whole = step && last <= MOST_TICKS ? { ticks: Array.from({ length: last }, (_, i) => i + 1) } : {};
      const rows = drawn.flatMap((l, z) =>
        l.line.steps.map((at, i) => ({ z, at, value: valueOf(l, i), color: methods[l.method]?.color, symbol: SYMBOLS[methods[l.method]?.symbol ?? "circle"],
          title: `${l.name}\n${at}: ${number(valueOf(l, i))}${unit.short && ` ${unit.short}`}`, few: l.line.steps.length <= 40, ended: l.ended })));
      const options = { x: "at", y: "value", z: "z", stroke: "color", strokeWidth: 1.6, curve: step ? "step-after" : "linear" } as const;
      return {
        height: 360, marginLeft: 54, marginBottom: 46, marginTop: 26, ...identity,
        x: { label: null }, y: { label: null },
        marks: [
          ...grids(whole),
          Plot.axisX({ label: x, labelAnchor: "center", labelArrow: "none", labelOffset: 40, tickFormat: number, ...whole }),
          Plot.axisY({ label: unit.short ? `${y} (${unit.short})` : y, labelAnchor: "top", labelArrow: "none", tickFormat: number }),
          Plot.line(rows.filter((r) => r.ended), options),
          Plot.line(rows.filter((r) => !r.ended), { ...options, strokeDasharray: "3,3" }),
          Plot.dot(rows.filter((r) => r.few), { x: "at", y: "value", symbol: "symbol", fill: "color", r: 2.8, title: "title" }),
        ],
      } as Plot.PlotOptions;
    },
    [lines, shown, methods, unit],
  );
  return (
    <>
      <Chart spec={spec} height={360} label={label} />
      <div class="legend" role="group" aria-label="Methods shown">
        {names.map((name) => (
          <button type="button" aria-pressed={shown.has(name)}
            onClick={() => show((now) => { const next = new Set(now); if (!next.delete(name)) next.add(name); return next; })}>
            <Mark mark={methods[name]} />{name}
          </button>
        ))}
      </div>
    </>
  );
}

export function Training({ study, kind }: { study: Study; kind: "loss" | "score" }) {
  const { training: courses, methods } = study;
  const lines = useMemo(
    () => courses.filter((c) => c[kind].steps.length).map((c) => ({
      name: `${c.method}, seed ${c.seed}${c.status === "ok" ? "" : `, ${c.status}`}`, method: c.method, line: c[kind], ended: c.status === "ok",
    })),
    [courses, kind],
  );
  const y = kind === "loss" ? "training loss" : "validation score";
  return <Courses key={kind} lines={lines} x="optimizer step" y={y} methods={methods} unit={kind === "score" ? scoreUnit(study) : PLAIN} label={`${y} by step, a line per run`} />;
}

export function BestSoFar({ study }: { study: Study }) {
  const lines = useMemo(
    () => study.best.map((b) => ({ name: b.method, method: b.method, ended: true,
      line: { steps: b.values.map((_, i) => i + 1), values: b.values } })),
    [study],
  );
  return <Courses lines={lines} x="trials" y="best validation score so far" methods={study.methods} step unit={scoreUnit(study)}
    label="Best validation score so far against number of trials" />;
}

export function OneCourse({ line, y }: { line: Line; y: string }) {
  const spec = useMemo(
    () => () => ({
      height: 180, marginLeft: 54, marginTop: 24, marginBottom: 40,
      x: { label: null }, y: { label: null },
      marks: [
        ...grids(),
        Plot.axisX({ label: "optimizer step", labelAnchor: "center", labelArrow: "none", labelOffset: 36, tickFormat: number, ticks: 6 }),
        Plot.axisY({ label: y, labelAnchor: "top", labelArrow: "none", tickFormat: number, ticks: 4 }),
        Plot.line(line.steps.map((at, i) => ({ at, value: line.values[i] ?? NaN })), { x: "at", y: "value", stroke: "var(--accent)", strokeWidth: 1.8 }),
      ],
    } as Plot.PlotOptions),
    [line],
  );
  return <Chart spec={spec} height={180} label={`${y} by step`} />;
}
