// Peak memory as one bar a method, stacked of its parts, and the card's memory as a line.
import { useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "./chart";
import type { PlanAbout, PlanRow } from "./documents";
import { shorten } from "./parts";
import { Pattern, partFill, Swatch } from "./plan_colours";
import { fits, GIGABYTE, sizeText, titleOf } from "./plan_text";
import type { Memory } from "./plan_text";

type Part = PlanAbout["parts"][number];
type Props = { rows: PlanRow[]; parts: Part[]; memory: Memory; label: string };

const BAR_PX = 13;
const NARROW_PX = 600;
const LETTER_PX = 6.7;
const HEAD_PX = 40;
const FOOT_PX = 40;
/** A card that has so many times the largest peak lies beyond the figure: its line would press all bars flat. */
const FAR = 3;
/** Bars that have so many times what all others have are cut: these would be pressed flat, too. */
const APART = 1.8;
const MOST_CUT = 0.1;

/** Places of marks on the axis: 1, 2 or 5 times a power of ten, at most so many. */
function ticks(most: number, number: number): number[] {
  const rough = most / number;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/** Where the scale ends, for rows in the order of their peaks. */
function scaleEnd(rows: PlanRow[], card: number): number {
  const peaks = rows.map((row) => row.peak!);
  for (let i = Math.max(Math.ceil((1 - MOST_CUT) * peaks.length) - 1, 1); i < peaks.length; i++) {
    const below = Math.max(peaks[i - 1]!, card);
    if (peaks[i]! > APART * below) return 1.1 * below;
  }
  return 1.02 * Math.max(peaks.at(-1) ?? 1, card);
}

const excess = (row: PlanRow, memory: Memory) => (fits(row, memory) ? "" : `, ${sizeText(row.peak! - memory.bytes)} over`);
const sortedByPeak = (rows: PlanRow[]) =>
  rows.filter((row) => row.peak !== null).sort((a, b) => a.peak! - b.peak! || a.method.localeCompare(b.method));

export function PlanBars({ rows, parts, memory, label }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  const [at, setAt] = useState<string | null>(null);
  const shown = useMemo(() => sortedByPeak(rows), [rows]);
  const used = useMemo(() => parts.map((_, i) => shown.some((row) => row.parts[i]! > 0)), [shown, parts]);
  const narrow = width < NARROW_PX;
  const high = narrow ? 36 : 20;
  const left = narrow ? 6 : Math.min(Math.max(...shown.map((row) => row.method.length), 8), 26) * LETTER_PX + 12;
  const right = narrow ? 12 : 174;
  const largest = Math.max(...shown.map((row) => row.peak!), 1);
  const far = memory.bytes > FAR * largest;
  const most = scaleEnd(shown, far ? 0 : memory.bytes);
  const x = (bytes: number) => left + (Math.min(bytes, most) / most) * (width - left - right);
  const card = far ? null : x(memory.bytes);
  const bottom = HEAD_PX + high * shown.length;
  const place_ = shown.findIndex((row) => row.method === at);
  const found = shown[place_];

  function key(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") setAt(null);
    if (step === undefined || !shown.length) return;
    event.preventDefault();
    const now = place_ < 0 ? (step > 0 ? -1 : shown.length) : place_;
    const next = Math.min(Math.max(now + step, 0), shown.length - 1);
    setAt(shown[next]!.method);
    place.current?.querySelectorAll(".bar")[next]?.scrollIntoView({ block: "nearest" });
  }
  function move(event: PointerEvent) {
    const box = place.current?.getBoundingClientRect();
    if (box) setAt(shown[Math.floor((event.clientY - box.top - HEAD_PX) / high)]?.method ?? null);
  }

  return (
    <>
      <ul class="keys parts">{parts.map((part, i) => used[i] && <li><Swatch part={part} place={i} />{part.label}</li>)}</ul>
      <div class="bars" tabIndex={0} role="application" aria-roledescription="bar chart" aria-label={`${label}. Arrow keys walk the bars; the table below has the same.`}
        onKeyDown={key} onBlur={() => setAt(null)} onPointerMove={move} onPointerDown={move} onPointerLeave={() => setAt(null)}>
        <div ref={place} style={{ minHeight: `${bottom + FOOT_PX}px` }}>
          {width > 0 && (
            <svg width={width} height={bottom + FOOT_PX} viewBox={`0 0 ${width} ${bottom + FOOT_PX}`} aria-hidden="true" font-size="12" fill="currentColor">
              <defs>{parts.map((part, i) => used[i] && <Pattern part={part} place={i} />)}</defs>
              {!narrow && <Beyond card={card} end={x(most)} top={HEAD_PX - 4} high={bottom - HEAD_PX + 8} />}
              <Scale x={x} most={most} number={narrow ? 4 : 8} bottom={bottom} />
              {shown.map((row, i) => {
                const top = HEAD_PX + i * high;
                const own = narrow ? top + 18 : top + (high - BAR_PX) / 2;
                const middle = narrow ? top + 13 : top + high / 2 + 4;
                const end = x(row.peak!) + 6;
                const free = card !== null && card > end - 8 && card < end + 60 ? card + 6 : end;  // a figure does not stand on the line
                return (
                  <g class="bar">
                    {row.method === at && <rect x={0} y={top} width={width} height={high} fill="var(--grid)" opacity={0.6} />}
                    {narrow && <Beyond card={card} end={x(most)} top={own} high={BAR_PX} />}
                    <text x={narrow ? left : left - 8} y={middle} text-anchor={narrow ? "start" : "end"}>{shorten(row.method, 26)}</text>
                    <Stack row={row} parts={parts} x={x} top={own} />
                    {row.peak! > most && <path d={jag(x(most), own)} fill="var(--panel)" />}
                    <text x={narrow ? width - 6 : free} y={middle} text-anchor={narrow ? "end" : "start"} class={fits(row, memory) ? "" : "over"}>
                      {sizeText(row.peak)}{excess(row, memory)}
                    </text>
                    {narrow && card !== null && <line x1={card} x2={card} y1={own - 2} y2={own + BAR_PX + 2} stroke="currentColor" stroke-width={2} />}
                  </g>
                );
              })}
              <CardLine memory={memory} at={card} to={narrow ? HEAD_PX - 4 : bottom + 4} width={width} />
            </svg>
          )}
        </div>
        <div class="tip" role="status" hidden={!found} style={found && tipAt(HEAD_PX + place_ * high, high, bottom)}>
          {found && <Told row={found} parts={parts} memory={memory} />}
        </div>
      </div>
    </>
  );
}

/** The end of a bar that goes on: two teeth. */
const jag = (x: number, top: number) => `M${x + 1} ${top}L${x - 5} ${top + BAR_PX / 4}L${x} ${top + BAR_PX / 2}L${x - 5} ${top + (3 * BAR_PX) / 4}L${x + 1} ${top + BAR_PX}Z`;

/** Where there is no memory any more. */
const Beyond = ({ card, end, top, high }: { card: number | null; end: number; top: number; high: number }) =>
  card !== null && end > card ? <rect x={card} y={top} width={end - card} height={high} fill="var(--loud-paper)" /> : null;

/** Whether a bar goes on beyond the figure. */
export function isCut(rows: PlanRow[], memory: Memory): boolean {
  const shown = sortedByPeak(rows);
  const largest = shown.at(-1)?.peak ?? 0;
  return largest > scaleEnd(shown, memory.bytes > FAR * largest ? 0 : memory.bytes);
}

const tipAt = (top: number, high: number, bottom: number) =>
  top > bottom - 220 && top > 220 ? { right: "12px", bottom: `calc(100% - ${top - 4}px)` } : { right: "12px", top: `${top + high + 4}px` };

function Told({ row, parts, memory }: { row: PlanRow; parts: Part[]; memory: Memory }) {
  return (
    <>
      <strong>{row.method}: {sizeText(row.peak)}{excess(row, memory)}</strong>
      {parts.map((part, i) => row.parts[i]! > 0 && <span>{part.label}: {sizeText(row.parts[i]!)}</span>)}
      <span>Highest in {row.phase === "train" ? "training" : "scoring"}.</span>
    </>
  );
}

function Stack({ row, parts, x, top }: { row: PlanRow; parts: Part[]; x: (bytes: number) => number; top: number }) {
  let sum = 0;
  return (
    <>
      {parts.map((part, i) => {
        const from = x(sum);
        sum += row.parts[i] ?? 0;
        const wide = x(sum) - from;
        return wide > 0 && <rect x={from} y={top} width={wide > 2.5 ? wide - 1 : wide} height={BAR_PX} fill={partFill(part, i)} />;
      })}
    </>
  );
}

function Scale({ x, most, number, bottom }: { x: (bytes: number) => number; most: number; number: number; bottom: number }) {
  const unit = most >= GIGABYTE ? { size: GIGABYTE, name: "GB" } : { size: 1e6, name: "MB" };
  return (
    <g>
      {ticks(most / unit.size, number).map((tick) => (
        <g>
          <line x1={x(tick * unit.size)} x2={x(tick * unit.size)} y1={HEAD_PX - 4} y2={bottom + 4} stroke="var(--grid)" />
          {[HEAD_PX - 9, bottom + 18].map((y) => <text x={x(tick * unit.size)} y={y} text-anchor={tick ? "middle" : "start"} fill="var(--muted)">{Number(tick.toPrecision(6))}{tick ? "" : ` ${unit.name}`}</text>)}
        </g>
      ))}
    </g>
  );
}

/** The card's memory: a line with its name on top, or an arrow to where it lies. */
function CardLine({ memory, at, to, width }: { memory: Memory; at: number | null; to: number; width: number }) {
  const text = titleOf(memory);
  if (at === null) return <g class="card"><text x={width - 6} y={13} text-anchor="end" font-weight="600">{text} →</text></g>;
  const long = text.length * 7.6;
  const [x, anchor] = at + long < width ? [at, "start"] : at > long ? [at, "end"] : [width / 2, "middle"];
  return (
    <g class="card">
      <line x1={at} x2={at} y1={18} y2={to} stroke="currentColor" stroke-width={2} stroke-dasharray="6 3" />
      <text x={x} y={13} text-anchor={anchor} font-weight="600">{text}</text>
    </g>
  );
}
