// Memory of every method on a model that the reader chooses, and whether it fits a graphics card.
import type { PlanModels, PlanRow, PlanTable } from "./documents";
import { documentName } from "./documents";
import { fits, sizeText, within } from "./plan_text";
import type { State } from "./state";
import { useDocument } from "./use_document";

export const NO_MODEL = "no";

export type Gpu = PlanModels["gpus"][number];
export type Fit = { state: "fits" | "with" | "not"; text: string };
export type Memory = {
  models: PlanModels | null;
  /** Key of the model that memory is shown on. */
  on: string | null;
  title: string | null;
  /** Batch and length that it is counted for. */
  window: string;
  rows: Map<string, PlanRow>;
  gpu: Gpu | null;
  notes: string[];
};

const NO_ROWS = new Map<string, PlanRow>();
const told = new WeakMap<PlanTable, Map<string, PlanRow>>();

/** Rows by method, the same map for the same table. */
function rowsOf(table: PlanTable): Map<string, PlanRow> {
  const known = told.get(table) ?? new Map(table.rows.map((row) => [row.method, row]));
  told.set(table, known);
  return known;
}

/** The model and the graphics card of the address, and the memory of methods on it. */
export function useMemory(state: State): Memory {
  const models = useDocument<PlanModels>("plan/models");
  const given = state.get("on");
  const known = models.value?.models ?? [];
  const off = state.get("memory") === NO_MODEL;
  const model = off ? undefined : given === undefined ? known[0] : known.find((m) => m.key === given);
  const table = useDocument<PlanTable>(model ? documentName("plan", model.key) : null);
  const gpu = models.value?.gpus.find((g) => g.name === state.get("gpu")) ?? null;
  const unknown = state.get("gpu") && models.value && !gpu ? [`No graphics card here is called “${state.get("gpu")}”.`] : [];
  const elsewhere = given && !off && models.value && !model ? [`Memory on “${given}” is not known here: choose a model, or see Plan.`] : [];
  return {
    models: models.value,
    on: model?.key ?? null,
    title: table.value?.title ?? model?.title ?? null,
    window: windowOf(table.value, models.value),
    rows: table.value ? rowsOf(table.value) : NO_ROWS,
    gpu,
    notes: [...[models.problem, table.problem].filter((p): p is string => p !== null), ...unknown, ...elsewhere],
  };
}

/** As the table says it, whose length may be one of pixels. */
const windowOf = (table: PlanTable | null, models: PlanModels | null): string =>
  table?.lines.join(", ").match(/batch \d+ × [^,]+/)?.[0] ?? (models ? `batch ${models.defaults.batch_size} × ${models.defaults.seq_len}` : "");

/** What a method takes on the chosen model, or why that is not known. */
export function memoryText(memory: Memory, method: string): string | null {
  if (!memory.on || !memory.rows.size) return null;
  const row = memory.rows.get(method);
  if (row && row.peak !== null) return `${sizeText(row.peak)} on ${memory.title}, ${memory.window}`;
  return `memory on ${memory.title} not known: ${row?.reason ?? "not counted"}`;
}

/** Whether a method fits the chosen graphics card, and with what. */
export function fitOf(memory: Memory, method: string): Fit | null {
  const row = memory.rows.get(method);
  if (!memory.gpu || !row || row.peak === null) return null;
  const { gpu, gpu: { label } } = memory;
  if (fits(row, gpu)) return { state: "fits", text: `fits ${label}` };
  const ways = [
    ...(within(row.checkpointed, gpu) ? [`activation checkpointing (${sizeText(row.checkpointed)})`] : []),
    ...(within(row.nf4, gpu) ? [`an NF4 base (${sizeText(row.nf4)})`] : []),
  ];
  if (ways.length) return { state: "with", text: `fits ${label} with ${ways.join(", or with ")}` };
  if (within(row.both, gpu)) return { state: "with", text: `fits ${label} with checkpointing and an NF4 base together (${sizeText(row.both)})` };
  return { state: "not", text: `does not fit ${label}` };
}
