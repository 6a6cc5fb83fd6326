// Every configuration that was measured of a method, on the scale that all methods of a task share.
import { extent, number, roomy } from "./chart";
import type { Card, Measured, Shop } from "./documents";

export type Task = Shop["tasks"][number];
export type Range = [number, number];

const ROW = 8;
const DENSE = 5;
const MOST_ROOMY = 10;
const LABELS = 16;

/** What all measured configurations of a task and their intervals span. */
export function rangeOf(task: Task, cards: Card[]): Range | null {
  const points = cards.flatMap((card) => card.measured[task.key]?.points ?? []);
  const found = extent(points.flatMap((p) => [p.value, p.low, p.high]));
  return found && roomy(found, 0.04, task.axis.scale === "log");
}

/** A few round numbers within a range. */
function ticksIn([low, high]: Range): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough) ?? rough;
  const found: number[] = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** A figure of a task in the unit of its axis. */
export const measuredText = (value: number, task: Task): string => {
  const text = task.axis.short === "%" ? value.toFixed(1) : number(value);
  return task.axis.short ? `${text} ${task.axis.short}` : text;
};

/** A row per configuration, the best first: one try and eight don't look alike. Hollow where nothing is known of the spread. */
export function Strip({ measured, task, range }: { measured: Measured; task: Task; range: Range }) {
  const log = task.axis.scale === "log";
  const sign = task.axis.direction === "lower" ? 1 : -1;
  const points = [...measured.points].sort((a, b) => sign * (a.value - b.value));
  const row = points.length > MOST_ROOMY ? DENSE : ROW;
  const height = row * points.length + 4;
  const place = (value: number) => {
    const [v, a, b] = log ? [value, ...range].map(Math.log10) as [number, number, number] : [value, ...range];
    return `${(100 * (v - a) / (b - a)).toFixed(2)}%`;
  };
  const ends = extent(points.map((p) => p.value))!;
  const span = points.length > 1 ? `, all of them from ${measuredText(ends[0], task)} to ${measuredText(ends[1], task)}` : "";
  return (
    <svg class="strip" width="100%" height={height + LABELS} role="img" aria-label={`${task.axis.label} of ${points.length} configurations${span}`}>
      {ticksIn(range).map((tick) => (
        <>
          <line class="grid" x1={place(tick)} x2={place(tick)} y1={0} y2={height} />
          <text x={place(tick)} y={height + 12} text-anchor="middle">{number(tick)}</text>
        </>
      ))}
      {points.map((p, i) => {
        const y = 2 + row * (i + 0.5);
        return (
          <g class={i ? "" : "best"}>
            {p.low !== null && p.high !== null && <line x1={place(p.low)} x2={place(p.high)} y1={y} y2={y} />}
            <circle class={p.low === null ? "hollow" : ""} cx={place(p.value)} cy={y} r={i ? 2.6 : 3.6}><title>{`${p.experiment}: ${p.text}`}</title></circle>
          </g>
        );
      })}
    </svg>
  );
}
