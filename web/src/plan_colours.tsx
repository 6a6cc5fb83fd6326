// A colour and a pattern for each part of the memory, the same in light and dark; neighbours differ in both.
import type { PlanAbout } from "./documents";

type Part = PlanAbout["parts"][number];
type Look = { color: string; lines: string | null };

const DOTS = "M1.5 1.5h1.6v1.6h-1.6zM4.5 4.5h1.6v1.6h-1.6z";
/** Each colour has a contrast of three to one on white and on the dark panel. */
const LOOKS: Record<string, Look> = {
  weights: { color: "#0077bb", lines: null },
  adapter: { color: "#cc3311", lines: "M-1 7L7 -1M2 10L10 2" },
  gradients: { color: "#008f80", lines: DOTS },
  optimizer_state: { color: "#7a6fc9", lines: "M3 0V6" },
  activations: { color: "#d9601a", lines: null },
  outputs: { color: "#b5467f", lines: "M-1 -1L7 7M-1 5L1 7M5 -1L7 1" },
  beside: { color: "#8a7a00", lines: "M0 3H6" },
  allocator: { color: "#7b858e", lines: "M0 3H6M3 0V6" },
};
const OTHERS = Object.values(LOOKS);

const lookOf = (part: Part, place: number): Look => (Object.hasOwn(LOOKS, part.name) ? LOOKS[part.name]! : OTHERS[place % OTHERS.length]!);

export const partFill = (part: Part, place: number): string =>
  lookOf(part, place).lines === null ? lookOf(part, place).color : `url(#part-${place})`;

export function Pattern({ part, place, id = `part-${place}` }: { part: Part; place: number; id?: string }) {
  const { color, lines } = lookOf(part, place);
  if (lines === null) return null;
  return (
    <pattern id={id} width={6} height={6} patternUnits="userSpaceOnUse">
      <rect width={6} height={6} fill={color} />
      {lines === DOTS ? <path d={lines} fill="#ffffff" fill-opacity={0.75} /> : <path d={lines} stroke="#ffffff" stroke-opacity={0.6} stroke-width={1.2} fill="none" />}
    </pattern>
  );
}

export function Swatch({ part, place }: { part: Part; place: number }) {
  const id = `swatch-${place}`;
  const plain = lookOf(part, place).lines === null;
  return (
    <svg width={18} height={13} aria-hidden="true">
      <defs><Pattern part={part} place={place} id={id} /></defs>
      <rect width={18} height={13} fill={plain ? lookOf(part, place).color : `url(#${id})`} />
    </svg>
  );
}
