// Two metrics against one another: the front, runs, or groups of runs. Points are picked by mouse, brush or keys.
import * as Plot from "@observablehq/plot";
import { brush as brushOf } from "d3-brush";
import type { D3BrushEvent } from "d3-brush";
import { select } from "d3-selection";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { decades, extent, number, plot, roomy, unstretched, useWidth } from "./chart";
import type { Drawn } from "./chart";
import { SYMBOLS } from "./marks";
import { count, shorten, shortNames } from "./parts";

export type Point = {
  key: string;
  name: string;
  x: number;
  y: number;
  xEnds?: [number, number] | null;
  yEnds?: [number, number] | null;
  color: string;
  symbol: string;
  hollow: boolean;
  size: number;
  faint: boolean;
  labelled: number;
  apart: boolean;
  lines: () => string[];
};
export type ScatterAxis = { title: string; scale: "linear" | "log"; direction: string };
type Props = {
  points: Point[];
  x: ScatterAxis;
  y: ScatterAxis;
  path: [number, number][];
  /** Marks beneath the points, such as a second line. */
  under?: Plot.Markish[];
  picked: ReadonlySet<string>;
  label: string;
  height?: number;
  onPick?: (keys: string[], more: boolean) => void;
  onOpen?: (key: string) => void;
  figure?: { current: Drawn | null };
};
type Placed = Point & { px: number; py: number; off: boolean };

const NEAR_PX = 28;
const ARROW_PX = 11;
/** Of a plot in which nothing is picked, and of one without a front. */
export const NONE_PICKED: ReadonlySet<string> = new Set();
export const NO_PATH: [number, number][] = [];

/** The range of an axis, with its points' intervals. */
function range(points: Point[], along: "x" | "y", axis: ScatterAxis): [number, number] {
  const log = axis.scale === "log";
  const values = (given: Point[]) =>
    given.flatMap((p) => [p[along], ...((along === "x" ? p.xEnds : p.yEnds) ?? [])]).filter((v) => !log || v > 0);
  const own = points.filter((p) => !p.apart);
  const inner = extent(values(own.length ? own : points)) ?? [0, 1];
  const outer = extent(values(points)) ?? inner;
  return roomy(unstretched(inner, outer, log), 0.08, log);
}

/** How many points lie beyond the edges of a figure, as a sentence of its caption. */
export function beyondText(points: Point[], x: ScatterAxis, y: ScatterAxis): string {
  const [rangeX, rangeY] = [range(points, "x", x), range(points, "y", y)];
  const beyond = points.filter((p) => p.x !== within(p.x, rangeX) || p.y !== within(p.y, rangeY)).length;
  return beyond ? `${count(beyond, "point lies", "points lie")} beyond the edge, where an arrow is; point at one for its figures.` : "";
}

/** An arrow outwards beside each point that is drawn on an edge and lies beyond it. */
function arrows(points: Point[], rangeX: [number, number], rangeY: [number, number]): Plot.Markish[] {
  const at = { x: (p: Point) => within(p.x, rangeX), y: (p: Point) => within(p.y, rangeY), fill: "color", fontSize: 10, className: "beyond" };
  const sides: [string, number, number, (p: Point) => boolean][] = [
    ["▶", ARROW_PX, 0, (p) => p.x > rangeX[1]], ["◀", -ARROW_PX, 0, (p) => p.x < rangeX[0]],
    ["▲", 0, -ARROW_PX, (p) => p.y > rangeY[1]], ["▼", 0, ARROW_PX, (p) => p.y < rangeY[0]],
  ];
  return sides.map(([sign, dx, dy, beyond]) => Plot.text(points.filter(beyond), { ...at, text: () => sign, dx, dy }));
}

const within = (value: number, [low, high]: [number, number]) => Math.min(Math.max(value, low), high);

function draw(props: Props, width: number): Drawn {
  const { points, x, y, path, picked } = props;
  const [rangeX, rangeY] = [range(points, "x", x), range(points, "y", y)];
  const narrow = width < 520;
  const placed = points.map((p) => {
    const [a, b] = [within(p.x, rangeX), within(p.y, rangeY)];
    return { ...p, x: a, y: b };
  });
  const dim = (p: Point) => (p.faint || (picked.size > 0 && !picked.has(p.key)) ? 0.22 : 1);
  const many = points.length > 400;
  const size = (p: Point) => (many ? 3 : p.size);
  const common = { x: "x", y: "y", symbol: (p: Point) => SYMBOLS[p.symbol], r: size, opacity: dim } as const;
  const edge = (direction: string, [low, high]: [number, number]) => (direction === "lower" ? high : low);
  const steps = path.length
    ? [[path[0]![0], edge(y.direction, rangeY)] as [number, number], ...path,
       [edge(x.direction, rangeX), path[path.length - 1]![1]] as [number, number]]
    : [];
  const scale = (axis: ScatterAxis, domain: [number, number]) => ({ type: axis.scale, domain, label: null });
  return plot(
    () => ({
      height: props.height ?? 460,
      marginLeft: 58,
      marginBottom: 48,
      marginTop: 30,
      marginRight: 18,
      x: scale(x, rangeX),
      y: scale(y, rangeY),
      color: { type: "identity" },
      symbol: { type: "identity" },
      r: { type: "identity" },
      marks: [
        Plot.gridX({ strokeOpacity: 1, stroke: "var(--grid)", ticks: ticks(x, rangeX, narrow).ticks }),
        Plot.gridY({ strokeOpacity: 1, stroke: "var(--grid)", ticks: ticks(y, rangeY, false).ticks }),
        Plot.axisX({ label: x.title, labelAnchor: "center", labelArrow: "none", labelOffset: 42, ...ticks(x, rangeX, narrow) }),
        Plot.axisY({ label: y.title, labelAnchor: "top", labelArrow: "none", textAnchor: "end", ...ticks(y, rangeY, false) }),
        steps.length
          ? Plot.line(steps, { curve: "step-after", stroke: "var(--muted)", strokeWidth: 1.5, clip: true })
          : null,
        ...(props.under ?? []),
        Plot.link(placed.filter((p) => p.xEnds), {
          x1: (p: Point) => within(p.xEnds![0], rangeX), x2: (p: Point) => within(p.xEnds![1], rangeX), y1: "y", y2: "y",
          stroke: "color", strokeWidth: 1.3, opacity: dim,
        }),
        Plot.link(placed.filter((p) => p.yEnds), {
          y1: (p: Point) => within(p.yEnds![0], rangeY), y2: (p: Point) => within(p.yEnds![1], rangeY), x1: "x", x2: "x",
          stroke: "color", strokeWidth: 1.3, opacity: dim,
        }),
        ...(many ? [dots(placed, dim)] : [
        Plot.dot(placed.filter((p) => p.hollow), { ...common, stroke: "color", fill: "var(--panel)", strokeWidth: many ? 1 : 2 }),
        Plot.dot(placed.filter((p) => !p.hollow), { ...common, fill: "color" }),
        ]),
        ...arrows(points, rangeX, rangeY),
        Plot.dot(placed.filter((p) => picked.has(p.key)), {
          x: "x", y: "y", r: (p: Point) => size(p) + 5, stroke: "currentColor", strokeWidth: 1.5,
        }),
      ],
    }),
    width,
  );
}

/** Thousands of points as one path for each colour: an element for each would take seconds. */
function dots(points: Point[], dim: (p: Point) => number): Plot.RenderFunction {
  return (_index, scales) => {
    const [x, y] = [scales.x as unknown as (v: number) => number, scales.y as unknown as (v: number) => number];
    const paths = new Map<string, string[]>();
    for (const p of points) {
      const key = `${p.color} ${dim(p)}`;
      const circle = `M${(x(p.x) - 3).toFixed(1)},${y(p.y).toFixed(1)}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0`;
      const own = paths.get(key);
      if (own) own.push(circle);
      else paths.set(key, [circle]);
    }
    const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    for (const [key, circles] of paths) {
      const [color = "", opacity = ""] = key.split(" ");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      for (const [name, value] of Object.entries({ d: circles.join(""), fill: "none", stroke: color, opacity })) path.setAttribute(name, value);
      group.append(path);
    }
    return group;
  };
}

function ticks(axis: ScatterAxis, domain: [number, number], narrow: boolean) {
  return axis.scale === "log"
    ? { ticks: decades(...domain), tickFormat: number }
    : { ticks: narrow ? 4 : 7, tickFormat: number };
}

// ---- names beside points

const SIDES: [string, number, number][] = [["start", 9, -8], ["end", -9, -8], ["start", 9, 16], ["end", -9, 16],
  ["middle", 0, -13], ["middle", 0, 22], ["start", 13, 4], ["end", -13, 4]];
const FARTHER: [string, number, number][] = [24, 48, 80, 120].flatMap((dx) =>
  [12, -12, 32, -32, 54, -54, 80, -80].flatMap((dy) =>
    [["start", dx, dy], ["end", -dx, dy]] as [string, number, number][]));

/** A name beside each point where it covers nothing; those that matter come first and have one in any case. */
function label(figure: Drawn, placed: Placed[], picked: ReadonlySet<string>, width: number, height: number, corner: Corner | null) {
  const pen = document.createElement("canvas").getContext("2d");
  if (!pen) return;
  pen.font = "12px system-ui, sans-serif";
  const svg = select(figure as SVGSVGElement);
  const group = svg.append("g").attr("class", "names").attr("font-size", 12).attr("fill", "currentColor");
  const taken = placed.map((p) => [p.px - 7, p.py - 7, p.px + 7, p.py + 7] as number[]);
  if (corner) {
    const wide = pen.measureText(corner.text).width;
    const left = corner.anchor === "start" ? corner.x : corner.x - wide;
    taken.push([left - 4, corner.y - 13, left + wide + 4, corner.y + 5]);
  }
  const overlaps = (a: number[], b: number[]) => a[0]! < b[2]! && b[0]! < a[2]! && a[1]! < b[3]! && b[1]! < a[3]!;
  const short = shortNames(placed.map((p) => p.name));
  const named = placed.filter((p) => p.labelled > 0).sort((a, b) => b.labelled - a.labelled);
  for (const p of named) {
    const text = shorten(short(p.name), width < 520 ? 16 : 26) + (p.off ? " (off the scale)" : "");
    const wide = pen.measureText(text).width + 4;
    const surely = p.labelled >= 2;
    const places = surely ? [...SIDES, ...FARTHER] : SIDES;
    for (const [anchor, dx, dy] of places) {
      const left = p.px + dx - (anchor === "middle" ? wide / 2 : anchor === "end" ? wide : 0);
      const top = p.py + dy - 12;
      const box = [left, top, left + wide, top + 15];
      const outside = left < 58 || top < 26 || box[2]! > width - 4 || box[3]! > height - 46;
      if (outside || taken.some((other) => overlaps(box, other))) continue;
      taken.push(box);
      if (Math.abs(dx) > 14)
        group.append("line").attr("x1", p.px).attr("y1", p.py).attr("x2", p.px + dx).attr("y2", p.py + dy - 4)
          .attr("stroke", "var(--muted)").attr("stroke-width", 0.8);
      group.append("text").attr("x", p.px + dx).attr("y", p.py + dy).attr("text-anchor", anchor)
        .attr("opacity", p.faint || (picked.size > 0 && !picked.has(p.key)) ? 0.55 : 1).text(text);
      break;
    }
  }
}

type Corner = { x: number; y: number; anchor: "start" | "end"; text: string };

/** Which corner is better, if one is. */
function cornerOf(x: ScatterAxis, y: ScatterAxis, width: number, height: number): Corner | null {
  if (x.direction === "neutral" || y.direction === "neutral") return null;
  const [left, top] = [x.direction === "lower", y.direction === "higher"];
  const arrow = left ? (top ? "↖" : "↙") : top ? "↗" : "↘";
  return { x: left ? 64 : width - 20, y: top ? 42 : height - 56, anchor: left ? "start" : "end", text: left ? `${arrow} better` : `better ${arrow}` };
}

const drawCorner = (figure: Drawn, { x, y, anchor, text }: Corner) =>
  select(figure as SVGSVGElement).append("text").attr("class", "corner").attr("font-size", 12).attr("fill", "var(--muted)")
    .attr("x", x).attr("y", y).attr("text-anchor", anchor).text(text);

export function Scatter(props: Props) {
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  const [at, setAt] = useState<string | null>(null);
  const found = useRef<Placed[]>([]);
  const height = props.height ?? 460;
  const latest = useRef(props);
  latest.current = props;
  const ordered = useMemo(() => [...props.points].sort((a, b) => a.x - b.x || a.y - b.y).map((p) => p.key), [props.points]);

  useLayoutEffect(() => {
    if (!width || !place.current) return;
    const figure = draw(props, width);
    const [scaleX, scaleY] = [figure.scale("x")!, figure.scale("y")!];
    const inside = (v: number, domain: unknown) => within(v, domain as [number, number]);
    found.current = props.points.map((p) => ({
      ...p,
      px: scaleX.apply(inside(p.x, scaleX.domain)),
      py: scaleY.apply(inside(p.y, scaleY.domain)),
      off: p.x !== inside(p.x, scaleX.domain) || p.y !== inside(p.y, scaleY.domain),
    }));
    const corner = cornerOf(props.x, props.y, width, height);
    label(figure, found.current, props.picked, width, height, corner);
    if (corner) drawCorner(figure, corner);
    if (props.onPick) brushed(figure, width, height);
    figure.setAttribute("aria-hidden", "true");
    place.current.replaceChildren(figure);
    if (props.figure) props.figure.current = figure;
  }, [props.points, props.picked, props.x, props.y, props.path, props.under, width]);

  function brushed(figure: Drawn, wide: number, high: number) {
    const group = select(figure as SVGSVGElement).append("g").attr("class", "brush");
    const tool = brushOf<unknown>()
      .touchable(false)
      .extent([[50, 20], [wide - 10, high - 42]])
      .on("end", (event: D3BrushEvent<unknown>) => {
        if (!event.sourceEvent) return;
        const more = (event.sourceEvent as MouseEvent).shiftKey;
        if (!event.selection) return;
        const [[x0, y0], [x1, y1]] = event.selection as [[number, number], [number, number]];
        const inside = found.current.filter((p) => p.px >= x0 && p.px <= x1 && p.py >= y0 && p.py <= y1);
        group.call(tool.clear);
        latest.current.onPick?.(inside.map((p) => p.key), more);
      });
    group.call(tool);
  }

  function nearest(event: MouseEvent): Placed | null {
    const box = place.current?.firstElementChild?.getBoundingClientRect();
    if (!box) return null;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best: Placed | null = null;
    let least = NEAR_PX;
    for (const p of found.current) {
      const far = Math.hypot(p.px - x, p.py - y) - Math.min(p.size, 8);
      if (far < least) [best, least] = [p, far];
    }
    return best;
  }

  function key(event: KeyboardEvent) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined && ordered.length) {
      event.preventDefault();
      const now = at === null ? (step > 0 ? -1 : ordered.length) : ordered.indexOf(at);
      setAt(ordered[Math.min(Math.max(now + step, 0), ordered.length - 1)] ?? null);
    } else if (at !== null && event.key === " ") {
      event.preventDefault();
      props.onPick?.([at], true);
    } else if (at !== null && event.key === "Enter" && props.onOpen) {
      event.preventDefault();
      props.onOpen(at);
    } else if (event.key === "Escape") setAt(null);
  }

  const shown = at === null ? undefined : found.current.find((p) => p.key === at);
  const keys = props.onOpen ? " Space picks it, Enter opens it." : props.onPick ? " Space picks it." : "";
  return (
    <div
      class="scatter"
      tabIndex={0}
      role="application"
      aria-roledescription="scatter plot"
      aria-label={`${props.label}. Arrow keys walk the points.${keys}`}
      onKeyDown={key}
      onBlur={() => setAt(null)}
      onPointerMove={(event) => event.buttons === 0 && setAt(nearest(event)?.key ?? null)}
      onPointerLeave={() => setAt(null)}
      onClick={(event) => {
        const near = nearest(event);
        if (near) props.onPick?.([near.key], event.shiftKey || event.ctrlKey || event.metaKey);
      }}
    >
      <div ref={place} style={{ minHeight: `${height}px` }} />
      <div class="tip" role="status" hidden={!shown} style={shown && tipAt(shown, width)}>
        {shown && (
          <>
            <strong>{shown.name}</strong>
            {shown.lines().map((line) => <span>{line}</span>)}
            {shown.off && <span>It lies beyond the edge of the figure.</span>}
          </>
        )}
      </div>
    </div>
  );
}

const tipAt = (p: Placed, width: number) =>
  p.px > width / 2
    ? { right: `${width - p.px + 14}px`, top: `${Math.max(p.py - 20, 0)}px` }
    : { left: `${p.px + 14}px`, top: `${Math.max(p.py - 20, 0)}px` };
