// What Python makes and the page draws. Texts are as they are in the records; nothing is decided here.

export type Mark = { color: string; symbol: string };
export type Method = Mark & { is_base: boolean; single: boolean; tier: number | null };
export type Cell = {
  text: string;
  sort: number | string | null;
  method?: string;
  title?: string | null;
  window?: string;
  direction?: string;
  run?: string;
  key?: string;
  ends?: [number, number];
};
export type Table = { headings: Cell[]; rows: Cell[][] };
export type Topic = { title: string; lines: string[]; rows: string[][] };
export type Axis = {
  label: string;
  title: string;
  direction: "higher" | "lower" | "neutral";
  better: string;
  window: string;
  scale: "linear" | "log";
  floor: number | null;
  factor: number;
  short: string;
};
export type Reading = { value: number; low: number | null; high: number | null; text: string; spread: string; range: string | null; exact: [number, number | null, number | null] };
export type Front = {
  members: string[];
  points: string[];
  membership: Record<string, number>;
  removable: Record<string, string[]>;
  notes: string[];
};
export type Trial = {
  rate: number;
  state: string;
  score: number | null;
  loss: number | null;
  stopped_at: number | null;
  chosen: boolean;
  text: string;
};
export type Rates = {
  method: string;
  offered: number;
  steps: number;
  edge: string | null;
  chosen: string | null;
  bracket: [number | null, number | null];
  rate: number | null;
  means: { rate: number; score: number | null; loss: number | null }[];
  short: { rate: number; step: number; loss: number }[];
  trials: Trial[];
};
export type Line = { steps: number[]; values: (number | null)[] };
export type Course = { method: string; seed: number; status: string; loss: Line; score: Line };
export type Lines = [string, string][];
export type Example = {
  id: string;
  prompt: string;
  target: string;
  answers: Record<string, { output: string; score: string; right: boolean | null; seed: number }>;
};
export type Disagreement = { first: string; second: string; first_better: number; second_better: number; same: number };
export type Stop = { value: number; label: string; given: string; admits: string[] };
export type Limit = { name: string; label: string; stops: Stop[]; unknown: string[]; option: string; unit: string; apart_from: string[] };
export type Need = { name: string; label: string; about: string; admits: string[]; option: string | null };
export type Answer = {
  choice: string | null;
  admitted: string[];
  summary: string;
  topics: Topic[];
  members: string[];
  membership: Record<string, number>;
};
export type Choices = {
  limits: Limit[];
  needs: Need[];
  bases: string[];
  methods: string[];
  answers: Record<string, Answer>;
  axes: [string, string] | null;
};

export type Study = {
  study: {
    name: string;
    place: string;
    commands: string[];
    recommend: string;
    made_at: string;
    models: string[];
    tasks: string[];
    metric: string;
    num_methods: number;
    num_examples: number;
    num_finals: number;
    num_trials: number;
    level: number;
    foreign: boolean;
    version: string;
  };
  methods: Record<string, Method>;
  first: { title: string; lines: string[] }[];
  recommendation: Topic[];
  pictures: { title: string; about: string; headings: string[]; rows: { name: string; pictures: string[] }[] }[];
  front: {
    axes: Record<string, Axis>;
    points: Record<string, Record<string, Reading>>;
    fronts: Record<string, Front>;
    default: [string, string] | null;
  };
  tiers: {
    points: {
      method: string;
      value: number;
      low: number | null;
      high: number | null;
      tier: number | null;
      is_base: boolean;
      single: boolean;
      text: string;
      spread: string;
      risk: string;
    }[];
    axis: string;
    table: Table;
    notes: string[];
  };
  pairs: {
    matrix: { names: string[]; rows: { method: string; cells: { verdict: string; sign: string; text: string }[] }[] } | null;
    table: Table;
    margin: string | null;
  };
  learning_rates: Rates[];
  best: { method: string; values: (number | null)[]; expected: (number | null)[] }[];
  training: Course[];
  quality: Table;
  costs: Table;
  failures: {
    runs: {
      title: string;
      runs: string[];
      status: string;
      reason: string;
      reached: string | null;
      attempts: number | null;
      traceback: string | null;
    }[];
    number: number;
    stopped: string | null;
  };
  fairness: { warnings: string[]; topics: Topic[] };
  conditions: {
    protocols: { kind: string; hash: string; num_runs: number; lines: Lines }[];
    differences: string[];
    environments: { num_runs: number; lines: Lines }[];
    warnings: string[];
  };
  names: Record<string, string>;
  notes: string[];
  outputs: Example[];
  disagreements: { about: string; pairs: Disagreement[]; left_out: number };
  settings: Record<string, Lines>;
  code: Record<string, { train: string; load: string | null }>;
  choices: Choices;
};

export type Runs = {
  name: string;
  place: string;
  state: string;
  score: string | null;
  axes: Record<string, Axis>;
  filters: { name: string; label: string }[];
  settings: string[];
  marks: Record<string, Mark>;
  rows: Run[];
  constant: Lines;
  notes: string[];
};
export type Run = {
  id: string;
  method: string;
  purpose: string;
  status: string;
  learning_rate: number | null;
  seed: number;
  task: string;
  model: string;
  conditions: string;
  version: string;
  settings: Record<string, string>;
  metrics: Record<string, number>;
};

export type RunDetails = {
  id: string;
  title: string;
  method: string;
  status: string;
  sections: { title: string; lines: Lines }[];
  curve: { loss: Line; score: Line } | null;
  outputs: { id: string; score: string; prompt: string | null; target: string | null; output: string }[];
  pictures: { about: string; address: string }[];
  config: Record<string, unknown>;
  settings: Lines;
  command: string | null;
  traceback: string | null;
};

export type Published = { task: string; task_title: string; release: string; released: string };
export type Listed = { key: string; name: string; place: string; published?: Published };
/** `live`: a server makes documents; `folder`: they lie as files beside the page; neither: in the page itself. */
export type Index = { studies: Listed[]; version: string; live: boolean; folder?: string; published?: boolean; shop?: boolean };

/** The published results: fronts then and now, and what repetition is worth. */
export type Releases = { tasks: ReleasedTask[]; source: { name: string; license: string; address_text: string; lines: string[] } };
export type ReleasedTask = {
  key: string;
  title: string;
  about: string[];
  releases: { key: string; study: string; title: string; lines: string[] }[];
  fronts: {
    title: string;
    x: string;
    y: string;
    lines: string[];
    rows: {
      experiment: string;
      method: string;
      in: Record<string, boolean>;
      figures: Record<string, { x: string; y: string } | null>;
    }[];
    points: Record<string, { experiment: string; method: string; x: number; y: number; member: boolean }[]>;
    axes: { x: Axis; y: Axis };
  };
  repeated: { lines: string[]; metrics: RepeatedMetric[] } | null;
};
export type RepeatedMetric = {
  name: string;
  label: string;
  axis: Axis;
  lines: string[];
  pairs: { experiment: string; method: string; first: number; second: number; text: string }[];
  sd: string | null;
  gap: string | null;
};

/** Every method as a card. */
export type Shop = {
  made: string;
  versions: Record<string, string>;
  adoption: { lines: string[] };
  groups: { name: string; title: string }[];
  capabilities: { name: string; group: string; title: string; about: string }[];
  families: string[];
  modalities: { name: string; label: string }[];
  tasks: { key: string; title: string; metric: string; about: string; axis: Axis }[];
  cards: Card[];
  study: Record<string, { template: string; fields: { key: string; label: string; value: string; about: string }[]; commands: string[] }>;
};
export type Able = "yes" | "no" | "unknown";
export type Measured = {
  tries: number;
  text: string;
  best: number;
  low: number | null;
  high: number | null;
  points: { experiment: string; value: number; low: number | null; high: number | null; runs: number; text: string }[];
};
export type Card = {
  name: string;
  title: string;
  family: string;
  peft_type: string | null;
  variant_of: string | null;
  summary: string;
  paper: { title: string; year: number; address: string | null } | null;
  trains: boolean;
  refused: string | null;
  needs: string[];
  limits: string[];
  modalities: string[];
  rate: string | null;
  able: Record<string, Able>;
  reasons: Record<string, string>;
  figures: Record<string, string>;
  measured: Record<string, Measured>;
  adoption: string | null;
  snippets: { key: string; title: string; about: string; code: string }[];
};

/** Memory of methods on a model. */
export type PlanModels = {
  models: { key: string; title: string; source: string; about: string }[];
  gpus: { name: string; label: string; bytes: number }[];
  defaults: { batch_size: number; seq_len: number; dtype: string };
  live_only: string;
};
export type PlanAbout = { title: string; source: string; lines: string[]; notes: string[]; parts: { name: string; label: string }[] };
export type PlanRow = {
  method: string;
  peak: number | null;
  parts: number[];
  phase: "train" | "eval";
  trainable: number | null;
  checkpoint_bytes: number | null;
  reason: string | null;
  checkpointed: number | null;
  nf4: number | null;
  both: number | null;
  largest_batch: number | null;
  largest_seq_len: number | null;
  batch_with_both: number | null;
  notes: string[];
};
export type PlanTable = PlanAbout & { key: string; rows: PlanRow[] };

const embedded: Record<string, unknown> = JSON.parse(document.getElementById("documents")?.textContent || "{}");
const kept = new Map<string, Promise<unknown>>();

const own = (): Index | undefined => embedded["index"] as Index | undefined;

export const isLive = (): boolean => own()?.live ?? false;

/** Whether all there is lies in the page, as in a report. */
export const isFile = (): boolean => !isLive() && !own()?.folder;

/** Where documents are fetched from: the server, or files beside the page. */
const place = (name: string): string => (isLive() ? `api/${name}` : `${own()!.folder}/${name}.json`);

async function fetched(name: string): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(place(name), { headers: { accept: "application/json" } });
  } catch {
    throw new Error(isLive() ? "peftscope does not answer: is 'peftscope explore' still running?"
      : "The files beside this page cannot be read: it works where a web server gives them, not opened as a file.");
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(found?.error?.message ?? `peftscope has nothing of that name (${answer.status})`);
  return found;
}

/** A document's name, of parts that may hold anything. */
export const documentName = (...parts: string[]): string => parts.map(encodeURIComponent).join("/");

/** A document by its name: one that lies in the page, or else one that the server makes. */
export function load<T>(name: string): Promise<T> {
  if (name in embedded) return Promise.resolve(embedded[name] as T);
  if (isFile()) return Promise.reject(new Error("This is not in the file; 'peftscope explore' shows it."));
  let found = kept.get(name);
  if (!found) {
    found = fetched(name);
    found.catch(() => kept.delete(name));
    kept.set(name, found);
  }
  return found as Promise<T>;
}

/** A document that lies in the page, at once. */
export const inPage = <T,>(name: string): T | undefined => embedded[name] as T | undefined;

export const forget = (): void => kept.clear();
