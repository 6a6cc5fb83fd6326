// A figure: drawn by Observable Plot at the width there is, when it comes into sight.
import * as Plot from "@observablehq/plot";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export type Drawn = (SVGSVGElement | HTMLElement) & Plot.Plot;
export type Spec = (width: number) => Plot.PlotOptions;

export function useWidth(place: { current: HTMLElement | null }): number {
  const [width, set] = useState(0);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const measure = () => set(Math.round(element.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return width;
}

function useSeen(place: { current: HTMLElement | null }): boolean {
  const [seen, set] = useState(false);
  useEffect(() => {
    if (!place.current) return;
    const show = () => set(true);
    const observer = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && show(), {
      rootMargin: "600px",
    });
    observer.observe(place.current);
    addEventListener("beforeprint", show);
    return () => {
      observer.disconnect();
      removeEventListener("beforeprint", show);
    };
  }, []);
  return seen;
}

const STYLE = { background: "none", color: "inherit", fontSize: "12px", fontFamily: "inherit", overflow: "visible" };

export function plot(spec: Spec, width: number): Drawn {
  const options = spec(width);
  return Plot.plot({ ...options, width, style: STYLE }) as Drawn;
}

type Props = { spec: Spec; height: number; label: string; id?: string };

/** A figure with nothing to do in it but to look; what it shows stands in a table beside it. */
export function Chart({ spec, height, label, id }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  const seen = useSeen(place);
  useLayoutEffect(() => {
    if (!seen || !width || !place.current) return;
    const figure = plot(spec, width);
    figure.setAttribute("aria-hidden", "true");
    place.current.replaceChildren(figure);
  }, [spec, width, seen]);
  return <div ref={place} id={id} class="plot" role="img" aria-label={label} style={{ minHeight: `${height}px` }} />;
}

/** Ticks at 1 and 3 of each power of ten within a range. */
export function decades(low: number, high: number): number[] {
  const span = Math.log10(high / low);
  const factors = span < 2.4 ? [1, 3] : [1];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
    }
  return found;
}

/** A learning rate as one reads it. */
export const rateText = (value: number): string => Number(value.toPrecision(2)).toExponential();

/** A number on an axis: no more digits than it takes. */
export const number = (value: number): string => {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace(".0e", "e");
  return String(Number(value.toPrecision(4)));
};

export const extent = (values: (number | null | undefined)[]): [number, number] | null => {
  const known = values.filter((v): v is number => v !== null && v !== undefined && Number.isFinite(v));
  return known.length ? [Math.min(...known), Math.max(...known)] : null;
};

/** The range of an axis: what stands apart (the untouched base) does not stretch it beyond half its width again. */
export function unstretched(inner: [number, number], outer: [number, number], log: boolean): [number, number] {
  const size = ([a, b]: [number, number]) => (log ? Math.log10(b / a) : b - a);
  return size(outer) <= 1.5 * size(inner) || size(inner) === 0 ? outer : inner;
}

/** A range with room on both sides. */
export function roomy([low, high]: [number, number], share: number, log: boolean): [number, number] {
  if (log) {
    const [a, b] = [Math.log10(low), Math.log10(high)];
    const room = (b - a) * share || 0.3;
    return [10 ** (a - room), 10 ** (b + room)];
  }
  if (low === 0 && high === 0) return [0, 1];
  const room = (high - low) * share || Math.abs(high) * 0.1;
  return [low - room, high + room];
}
