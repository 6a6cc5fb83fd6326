// One colour and one sign per method, the same everywhere.
import { symbolCircle, symbolCross, symbolDiamond, symbolSquare, symbolStar, symbolTriangle } from "d3-shape";
import type { SymbolType } from "d3-shape";
import type { Mark as MarkOf } from "./documents";

const polygon = (corners: number, turn: number): SymbolType => ({
  draw(context, size) {
    const radius = Math.sqrt((2 * size) / (corners * Math.sin((2 * Math.PI) / corners)));
    for (let i = 0; i < corners; i++) {
      const angle = turn + (2 * Math.PI * i) / corners;
      const at: [number, number] = [radius * Math.cos(angle), radius * Math.sin(angle)];
      if (i) context.lineTo(...at);
      else context.moveTo(...at);
    }
    context.closePath();
  },
});

export const SYMBOLS: Record<string, SymbolType> = {
  circle: symbolCircle,
  square: symbolSquare,
  diamond: symbolDiamond,
  "triangle-up": symbolTriangle,
  "triangle-down": polygon(3, Math.PI / 2),
  pentagon: polygon(5, -Math.PI / 2),
  hexagon: polygon(6, 0),
  cross: symbolCross,
  star: symbolStar,
};

const SIGNS: Record<string, string> = {
  circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", "triangle-down": "▼", pentagon: "⬟", hexagon: "⬢",
  cross: "✚", star: "★",
};

export const Mark = ({ mark }: { mark: MarkOf | undefined }) =>
  mark ? <span class="mark" style={{ color: mark.color }} aria-hidden="true">{SIGNS[mark.symbol]}</span> : null;
