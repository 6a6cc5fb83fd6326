// Which cards are shown and in what order, as the address has it.
import type { Card, Shop } from "./documents";
import type { Memory } from "./shop_memory";
import type { Change, State } from "./state";
import { measuredText } from "./strip";
import type { Task } from "./strip";

export type Wanted = { find: string; modality: string; family: string; trains: boolean; can: string[] };
export type Sort = { key: string; label: string };

export const NOTHING_WANTED: Change = { find: undefined, modality: undefined, family: undefined, trains: undefined, can: undefined };

export function wantedIn(state: State): Wanted {
  return {
    find: state.get("find") ?? "",
    modality: state.get("modality") ?? "",
    family: state.get("family") ?? "",
    trains: state.get("trains") === "1",
    can: (state.get("can") ?? "").split(",").filter(Boolean),
  };
}

/** What the address asks for and nothing here is called. */
export function unknownIn(wanted: Wanted, shop: Shop): string[] {
  return [
    ...wanted.can.filter((name) => !shop.capabilities.some((c) => c.name === name)).map((name) => `There is no capability “${name}” here.`),
    ...(wanted.family && !shop.families.includes(wanted.family) ? [`There is no family “${wanted.family}” here.`] : []),
    ...(wanted.modality && !shop.modalities.some((m) => m.name === wanted.modality) ? [`Nothing here is made for “${wanted.modality}”.`] : []),
  ];
}

const texts = new WeakMap<Card, string>();

/** All that a search looks through. */
function textOf(card: Card): string {
  const known = texts.get(card) ?? [card.name, card.title, card.summary, card.family, card.paper?.title ?? ""].join(" ").toLowerCase();
  texts.set(card, known);
  return known;
}

/** Whether a card has every word that is searched for and all that is wanted of it. */
export function passes(card: Card, wanted: Wanted): boolean {
  return wanted.find.toLowerCase().split(/\s+/).every((word) => textOf(card).includes(word))
    && (!wanted.modality || card.modalities.includes(wanted.modality))
    && (!wanted.family || card.family === wanted.family)
    && (!wanted.trains || card.trains)
    && wanted.can.every((name) => card.able[name] === "yes");
}

const OF_TASK = ["best", "low", "tries"] as const;

/** What cards can be sorted by: of the scores only those that some card has. */
export function sortsOf(shop: Shop, memory: Memory): Sort[] {
  const scores = shop.tasks.flatMap((task) => OF_TASK.map((kind) => ({ key: `${kind}.${task.key}`, label: labelOf(kind, task) }))
    .filter(({ key }) => shop.cards.some((card) => figureOf(card, key, shop, memory) !== null)));
  return [
    { key: "name", label: "name" },
    ...scores,
    ...(memory.rows.size ? [{ key: "memory", label: `memory on ${memory.title}` }] : []),
    { key: "family", label: "family" },
    { key: "year", label: "year of the paper, newest first" },
  ];
}

const labelOf = (kind: (typeof OF_TASK)[number], task: Task): string =>
  kind === "tries" ? `configurations tried, ${task.title}, most first`
    : `${task.axis.label}, ${task.title}${kind === "low" ? `, at least (${worse(task)} end)` : ""}`;

const worse = (task: Task) => (task.axis.direction === "lower" ? "upper" : "lower");

/** A card's figure for a sort; smaller comes first. */
function figureOf(card: Card, key: string, shop: Shop, memory: Memory): number | null {
  const [kind, name] = key.split(".");
  if (kind === "memory") return memory.rows.get(card.name)?.peak ?? null;
  if (kind === "year") return card.paper ? -card.paper.year : null;
  if (kind === "family") return shop.families.indexOf(card.family);
  const task = shop.tasks.find((t) => t.key === name);
  const measured = name === undefined ? undefined : card.measured[name];
  if (!task || !measured) return null;
  if (kind === "tries") return -measured.tries;
  const lower = task.axis.direction === "lower";
  const value = kind === "best" ? measured.best : lower ? measured.high : measured.low;
  return value === null ? null : lower ? value : -value;
}

/** What cannot be trained comes last, before it what has no figure. */
export function sorted(cards: Card[], key: string, shop: Shop, memory: Memory): Card[] {
  const places = cards.map((card) => ({ card, figure: key === "name" ? 0 : figureOf(card, key, shop, memory) }));
  places.sort((a, b) =>
    Number(!a.card.trains) - Number(!b.card.trains)
    || Number(a.figure === null) - Number(b.figure === null)
    || (a.figure ?? 0) - (b.figure ?? 0)
    || a.card.title.localeCompare(b.card.title, "en", { numeric: true, ignorePunctuation: true }));
  return places.map(({ card }) => card);
}

/** How many of the cards have nothing to be sorted by. */
export const withoutFigure = (cards: Card[], key: string, shop: Shop, memory: Memory): number =>
  key === "name" ? 0 : cards.filter((card) => figureOf(card, key, shop, memory) === null).length;

/** What a card is sorted by, with the number of tries that stand behind it. */
export function sortedText(card: Card, key: string, shop: Shop): string | null {
  const [kind, name] = key.split(".");
  const task = shop.tasks.find((t) => t.key === name);
  if (!task || !OF_TASK.some((known) => known === kind)) return null;
  const measured = card.measured[task.key];
  if (!measured) return `${task.title}: no published result`;
  const tried = measured.tries === 1 ? "one configuration tried" : `best of ${measured.tries} configurations tried`;
  const end = task.axis.direction === "lower" ? measured.high : measured.low;
  if (kind === "low") return `${end === null ? "no interval" : `${task.axis.direction === "lower" ? "at most" : "at least"} ${measuredText(end, task)}`} · ${tried}`;
  return `${task.axis.label} ${measuredText(measured.best, task)} · ${tried}`;
}
