// Amounts and what is said of them: numbers of the rows held against the card's memory.
import type { PlanRow } from "./documents";
import { count } from "./parts";

export const GIGABYTE = 1e9;

/** Bytes as people read them, in decimal units. */
export function sizeText(bytes: number | null): string {
  if (bytes === null) return "–";
  if (bytes === 0) return "0";
  const [size, unit] = bytes >= 999.5e6 ? [1e9, "GB"] : bytes >= 999.5e3 ? [1e6, "MB"] : bytes >= 999.5 ? [1e3, "kB"] : [1, "bytes"];
  return `${shortNumber(bytes / size)} ${unit}`;
}

/** A count in thousands, millions or billions. */
export function countText(value: number | null): string {
  if (value === null) return "–";
  const [size, unit] = value >= 999.5e6 ? [1e9, " B"] : value >= 999.5e3 ? [1e6, " M"] : value >= 999.5 ? [1e3, " k"] : [1, ""];
  return `${shortNumber(value / size)}${unit}`;
}

const shortNumber = (value: number) => (value >= 999.5 ? String(Math.round(value)) : String(Number(value.toPrecision(3))));

/** What is there: an amount of memory, and what it is the memory of. */
export type Memory = { name: string; label: string; bytes: number };
/** What is switched on already cannot help any more. */
export type Eased = { checkpointing: boolean; packed: boolean };

/** The amount with the card that it is of, whose label ends in what it is sold with, which is not what is free. */
export function titleOf({ label, bytes }: Memory): string {
  const name = label.replace(/(, [\d.]+ GB| \([^()]*\))$/, "");
  return name === label || name === sizeText(bytes) ? sizeText(bytes) : `${sizeText(bytes)} (free on ${name})`;
}

export const fits = (row: PlanRow, memory: Memory): boolean => row.peak !== null && row.peak <= memory.bytes;
export const within = (bytes: number | null, memory: Memory): bytes is number => bytes !== null && bytes <= memory.bytes;
const withAll = (eased: Eased) => (eased.checkpointing ? "with the base in NF4" : eased.packed ? "with checkpointing" : "with both");

/** Whether it fits with less activations kept, a base in four bits, or both. */
export const helped = (row: PlanRow, memory: Memory): boolean =>
  !fits(row, memory) && [row.checkpointed, row.nf4, row.both].some((bytes) => within(bytes, memory));

const smaller = (row: PlanRow) => [row.largest_batch, row.largest_seq_len, row.batch_with_both].some((size) => (size ?? 0) > 0);

/** What would make a method fit, in words; nothing where it does. */
export function remedy(row: PlanRow, memory: Memory, eased: Eased): string {
  if (row.peak === null || fits(row, memory)) return "";
  const found: string[] = [];
  if (within(row.checkpointed, memory)) found.push(`with checkpointing: ${sizeText(row.checkpointed)}`);
  if (within(row.nf4, memory)) found.push(`with the base in NF4: ${sizeText(row.nf4)}`);
  if (!found.length && within(row.both, memory)) found.push(`${withAll(eased)}: ${sizeText(row.both)}`);
  if (row.largest_batch) found.push(`batch ${row.largest_batch} fits`);
  if (row.largest_seq_len) found.push(`length ${row.largest_seq_len} fits`);
  if (!found.length && row.batch_with_both) found.push(`batch ${row.batch_with_both} fits ${withAll(eased)}`);
  if (found.length) return found.join("; ");
  const tried = [row.checkpointed, row.nf4, row.both, row.largest_batch, row.largest_seq_len, row.batch_with_both];
  if (tried.every((value) => value === null)) return "–";
  return row.largest_batch === null ? "not with checkpointing or a 4-bit base" : "not even with a batch of 1";
}

/** How many methods fit, as one sentence. */
export function summary(rows: PlanRow[], memory: Memory): string {
  const known = rows.filter((row) => row.peak !== null);
  if (!known.length) return "No method could be counted on this model.";
  const own = known.filter((row) => fits(row, memory)).length;
  const more = known.filter((row) => helped(row, memory)).length;
  const rest = known.filter((row) => !fits(row, memory) && !helped(row, memory));
  const less = rest.filter(smaller).length;
  const into = `into ${titleOf(memory)}`;
  if (own === known.length) return `${own === 1 ? "The one method shown fits" : `All ${own} methods fit`} ${into} as ${own === 1 ? "it is" : "they are"}.`;
  if (!own && !more && !less) return `None of ${count(known.length, "method")} fits ${into}.`;
  return [
    `${own || "None"} of ${count(known.length, "method")} ${own === 1 ? "fits" : "fit"} ${into} as ${own === 1 ? "it is" : "they are"}`,
    more ? `${more}${own ? " more" : more === 1 ? " does" : " do"} with checkpointing or a 4-bit base` : "",
    rest.length ? `${rest.length} ${rest.length === 1 ? "does" : "do"} not` : "",
    less ? `${less === rest.length && less > 1 ? "all" : less} of which would with a smaller batch or a shorter length` : "",
  ].filter(Boolean).join(", ") + ".";
}

const PLAIN = /^[\w@%+=:,./-]+$/;
const quoted = (text: string) => (PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Words of a command, as a shell takes them. */
export const command = (words: string[]): string => words.map(quoted).join(" ");
