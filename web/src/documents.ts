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

export type Index = { studies: { key: string; name: string; place: string }[]; version: string; live: boolean };

const embedded: Record<string, unknown> = JSON.parse(document.getElementById("documents")?.textContent || "{}");
const kept = new Map<string, Promise<unknown>>();

export const isLive = (): boolean => (embedded["index"] as Index | undefined)?.live ?? false;

async function fetched(name: string): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(`api/${name}`, { headers: { accept: "application/json" } });
  } catch {
    throw new Error("peftscope does not answer: is 'peftscope explore' still running?");
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
  if (!isLive()) return Promise.reject(new Error("This is not in the file; 'peftscope explore' shows it."));
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
