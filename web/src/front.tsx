// The front over two metrics, as points of a scatter plot.
import type { Answer, Front, Method, Reading, Study } from "./documents";
import type { Point, ScatterAxis } from "./scatter";

export const frontFor = (study: Study, x: string, y: string): Front | undefined =>
  study.front.fronts[`${x}|${y}`] ?? study.front.fronts[`${y}|${x}`];

/** What is said of a method's place on the front. */
export function placeText(p: number | undefined, method: Method | undefined): string {
  if (p === undefined) return "none: a single run";
  return method?.single ? `${p.toFixed(2)} (one seed)` : p.toFixed(2);
}

const ends = (r: Reading): [number, number] | null => (r.low === null || r.high === null ? null : [r.low, r.high]);

/** A figure with what is known of its spread. */
export const spreadText = (r: Reading): string => `${r.text} (${r.range ? `${r.range}: ` : ""}${r.spread})`;

type Shown = { members: string[]; membership: Record<string, number> };

/** Points of all methods that have both values; `admitted` fades the others. */
export function frontPoints(study: Study, x: string, y: string, found: Shown, admitted?: ReadonlySet<string>, by = "limits"): Point[] {
  const [byX, byY] = [study.front.points[x] ?? {}, study.front.points[y] ?? {}];
  const [axisX, axisY] = [study.front.axes[x], study.front.axes[y]];
  return Object.entries(study.methods).flatMap(([name, method]) => {
    const [a, b] = [byX[name], byY[name]];
    if (!a || !b || !axisX || !axisY) return [];
    const chance = found.membership[name];
    const on = found.members.includes(name);
    const strength = chance ?? (on ? 0.8 : 0.3);
    return [{
      key: name,
      name,
      x: a.value,
      y: b.value,
      xEnds: ends(a),
      yEnds: ends(b),
      color: method.color,
      symbol: method.symbol,
      hollow: method.single || (chance === undefined && admitted?.has(name) !== false),
      size: 4.5 + 4 * strength,
      faint: admitted !== undefined && !admitted.has(name),
      labelled: (on ? 2 : 1) + strength / 2 - (admitted && !admitted.has(name) ? 1 : 0),
      apart: method.is_base,
      lines: () => [
        `${axisX.label}: ${spreadText(a)}`,
        `${axisY.label}: ${spreadText(b)}`,
        ...(admitted && !admitted.has(name) ? [`left out by the ${by}`]
          : [on ? "on the front" : "not on the front", `probability of being on it: ${placeText(chance, method)}`]),
      ],
    }];
  });
}

/** From the best side of the first metric to its worst. */
export function frontPath(study: Study, x: string, y: string, found: Pick<Answer, "members">): [number, number][] {
  const sign = study.front.axes[x]?.direction === "lower" ? 1 : -1;
  return found.members
    .flatMap((name): [number, number][] => {
      const [a, b] = [study.front.points[x]?.[name], study.front.points[y]?.[name]];
      return a && b ? [[a.value, b.value]] : [];
    })
    .sort((p, q) => sign * (p[0] - q[0]) || p[1] - q[1]);
}

export const axisOf = (axis: { title: string; scale: "linear" | "log"; direction: string }): ScatterAxis => ({
  title: axis.title, scale: axis.scale, direction: axis.direction,
});
