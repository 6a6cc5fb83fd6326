// Tables and figures as files.
import type { Drawn } from "./chart";

const FORMULA = /^[=+\-@\t\r]/;
const IS_NUMBER = /^-?\d*\.?\d+(e[+-]?\d+)?$/i;

/** A cell that no spreadsheet runs. */
function cell(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && FORMULA.test(text) && !IS_NUMBER.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csv = (rows: (string | number | null | undefined)[][]): string =>
  rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";

export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const saveText = (name: string, text: string, type: string): void => save(name, new Blob([text], { type }));

/** The figure as SVG that stands alone: the colours of the page's light theme written out. */
export function svgText(figure: Drawn, title: string): string {
  const svg = figure as unknown as SVGSVGElement;
  const copy = svg.cloneNode(true) as SVGSVGElement;
  copy.querySelectorAll(".brush").forEach((element) => element.remove());
  const { width, height: drawn } = svg.getBoundingClientRect();
  const lines = wrapped(title, Math.floor(width / 6.2));
  const height = drawn + 6 + 16 * lines.length;
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.removeAttribute("aria-hidden");
  copy.style.setProperty("color", "#1b2430");
  copy.style.setProperty("font-family", "sans-serif");
  copy.insertAdjacentHTML("afterbegin", `<rect width="100%" height="100%" fill="#ffffff"/>`);
  lines.forEach((line, i) => {
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    for (const [name, value] of Object.entries({ x: "8", y: String(drawn + 14 + 16 * i), "font-size": "12", fill: "#566170" })) text.setAttribute(name, value);
    text.textContent = line;
    copy.append(text);
  });
  const colors: Record<string, string> = { grid: "#e6eaef", panel: "#ffffff", muted: "#576270", line: "#d9dfe6", accent: "#00629b" };
  return new XMLSerializer().serializeToString(copy).replace(/var\(--(\w+)\)/g, (_, name: string) => colors[name] ?? "#000000");
}

/** A text in lines of at most so many letters. */
function wrapped(text: string, most: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < most) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function saveSvg(name: string, figure: Drawn, title: string): void {
  saveText(name, svgText(figure, title), "image/svg+xml");
}

export function savePng(name: string, figure: Drawn, title: string): void {
  const image = new Image();
  const address = URL.createObjectURL(new Blob([svgText(figure, title)], { type: "image/svg+xml" }));
  image.onload = () => {
    const { width, height } = image;
    const canvas = document.createElement("canvas");
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    const pen = canvas.getContext("2d")!;
    pen.scale(2, 2);
    pen.drawImage(image, 0, 0, width, height);
    URL.revokeObjectURL(address);
    canvas.toBlob((blob) => blob && save(name, blob), "image/png");
  };
  image.src = address;
}
