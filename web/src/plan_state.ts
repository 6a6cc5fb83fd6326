// What is asked: the model, the circumstances and the card, as the address has them.
import type { PlanModels } from "./documents";
import { isLive } from "./documents";
import { GIGABYTE } from "./plan_text";
import type { Memory } from "./plan_text";
import { NO_MODEL } from "./shop_memory";
import type { State } from "./state";

/** As the command takes them, by their long names. */
const SHORT: Record<string, string> = { bfloat16: "bf16", float16: "fp16", float32: "fp32" };
export const DTYPES = Object.values(SHORT);
export const QUANTIZATIONS = ["nf4", "int8"];
export const MOST_CONFIG_BYTES = 1_000_000;
/** Characters of a file's name that are sent. */
const MOST_NAME = 100;
/** What the address has for this view alone. */
export const OWN = ["from", "hub", "batch", "length", "dtype", "quant", "ckpt", "methods"];
const FIRST_CARD = "rtx-4090";

/** A config of the reader's own; it stays in the page and is in no address. */
export type Config = { name: string; content: Record<string, unknown> };
export type Source = "known" | "hub" | "file";
export type Circumstances = { batch_size: number; seq_len: number; dtype: string; quantization: string | null; checkpointing: boolean };
export type Wanted = {
  from: Source;
  model: PlanModels["models"][number] | undefined;
  hub: string;
  circumstances: Circumstances;
  /** A table that was made before is shown; anything else is counted now. */
  ready: boolean;
  all: boolean;
  memory: Memory;
  problems: string[];
};

const WHOLE = /^\d{1,9}$/;
const AMOUNT = /^(\d+(?:\.\d+)?)(GB|GiB)$/;

/** An amount such as 24GB or 24GiB, or a card by its name. */
export function memoryOf(given: string, models: PlanModels): Memory | null {
  const card = models.gpus.find((gpu) => gpu.name === given);
  if (card) return card;
  const found = AMOUNT.exec(given);
  if (!found || Number(found[1]) === 0) return null;
  return { name: given, label: `${Number(found[1])} ${found[2]}`, bytes: Number(found[1]) * (found[2] === "GB" ? GIGABYTE : 2 ** 30) };
}

/** What the address asks for, and what in it means nothing. */
export function wantedIn(state: State, models: PlanModels): Wanted {
  const problems: string[] = [];
  const live = isLive();
  const defaults = { ...models.defaults, dtype: SHORT[models.defaults.dtype] ?? models.defaults.dtype };
  const told = (key: string, allowed: (value: string) => boolean, words: string): string | undefined => {
    const given = state.get(key);
    if (given === undefined || allowed(given)) return given;
    problems.push(`The address has “${given}” as ${words}, which is none: the default is taken.`);
    return undefined;
  };
  const whole = (least: number) => (value: string) => WHOLE.test(value) && Number(value) >= least;
  const on = told("on", (value) => value === NO_MODEL || models.models.some((model) => model.key === value), "a model");
  const card = told("gpu", (value) => memoryOf(value, models) !== null, "a card");
  const asked: Circumstances = {
    batch_size: Number(told("batch", whole(1), "a batch size") ?? defaults.batch_size),
    seq_len: Number(told("length", whole(2), "a length") ?? defaults.seq_len),
    dtype: told("dtype", (value) => DTYPES.includes(value), "a dtype") ?? defaults.dtype,
    quantization: told("quant", (value) => QUANTIZATIONS.includes(value), "a quantization") ?? null,
    checkpointing: told("ckpt", (value) => value === "1", "activation checkpointing") === "1",
  };
  const usual: Circumstances = { ...defaults, quantization: null, checkpointing: false };
  const same = (Object.keys(usual) as (keyof Circumstances)[]).every((key) => usual[key] === asked[key]);
  const from = told("from", (value) => value === "hub" || value === "file", "the place of a model") as Source | undefined;
  if (!live && (from !== undefined || !same)) problems.push(`The address asks for what is not on this page. ${models.live_only}`);
  const ready = !live || (from === undefined && same);
  const first = models.gpus.find((gpu) => gpu.name === FIRST_CARD) ?? models.gpus[0];
  const methods = told("methods", (value) => value === "all" || value === "types", "a choice of methods");
  return {
    from: live ? from ?? "known" : "known",
    model: models.models.find((model) => model.key === on) ?? models.models[0],
    hub: state.get("hub")?.trim() ?? "",
    circumstances: live ? asked : usual,
    ready,
    all: methods === undefined ? ready : methods === "all",
    memory: (card === undefined ? null : memoryOf(card, models)) ?? first ?? { name: "24GB", label: "24 GB", bytes: 24 * GIGABYTE },
    problems,
  };
}

export type Asked = { model?: string; config?: Record<string, unknown>; config_name?: string; memory: string; methods: "all" | null } & Circumstances;

/** What the server is asked; nothing while the model is not known or a table is there already. */
export function requestOf(wanted: Wanted, config: Config | null): Asked | null {
  if (wanted.ready) return null;
  const model = wanted.from === "known" ? wanted.model && { model: wanted.model.source }
    : wanted.from === "hub" ? wanted.hub && { model: wanted.hub } : config && { config: config.content, config_name: [...config.name].slice(0, MOST_NAME).join("") };
  if (!model) return null;
  return { ...model, ...wanted.circumstances, memory: wanted.memory.name, methods: wanted.all ? "all" : null };
}

/** The words of the command that counts the same. */
export function wordsOf(wanted: Wanted, config: Config | null): string[] {
  const { batch_size, seq_len, dtype, quantization, checkpointing } = wanted.circumstances;
  const model = wanted.from === "known" ? wanted.model?.source : wanted.from === "hub" ? wanted.hub : config?.name;
  return [
    "peftscope", "plan", "--model", model || "config.json", "--batch-size", String(batch_size), "--seq-len", String(seq_len), "--dtype", dtype,
    ...(quantization ? ["--quantization", quantization] : []), ...(checkpointing ? ["--checkpointing"] : []),
    ...(wanted.all ? ["--methods", "all"] : []), "--max-memory", wanted.memory.name,
  ];
}
