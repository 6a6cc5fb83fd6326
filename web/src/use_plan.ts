// What methods take, as a view holds it: a table that was made before, or rows as they are counted.
import { useEffect, useRef, useState } from "preact/hooks";
import { documentName } from "./documents";
import type { PlanAbout, PlanRow, PlanTable } from "./documents";
import type { Asked } from "./plan_state";
import { counted } from "./plan_stream";
import { useDocument } from "./use_document";

export type Planned = {
  about: PlanAbout | null;
  rows: PlanRow[];
  /** Of all methods that are asked about; null while that is not known. */
  total: number | null;
  state: "nothing" | "waiting" | "counting" | "stopped" | "done";
  problem: string | null;
  /** The memory that smaller batches and lengths were counted for; null of a table. */
  memory: string | null;
  stop: () => void;
};
type Counted = Omit<Planned, "stop" | "memory">;
type Counting = { asked: Asked; key: string; now: Counted; control: AbortController; draw: () => void };

const NOTHING: Omit<Planned, "stop"> = { about: null, rows: [], total: null, state: "nothing", problem: null, memory: null };
const nobody = () => undefined;

/** What was asked last: it is counted on while other views are open, and is there for whoever comes back. */
let counting: Counting | null = null;

/** Another card asks for nothing anew: peaks are the same on each, with checkpointing and on a packed base, too. */
export const sameOnEachCard = (asked: Asked | null): string => JSON.stringify({ ...asked, memory: undefined });

/** The table `key`, or else what the server counts for `request`; `turn` asks anew. */
export function usePlan(key: string | null, request: Asked | null, turn: number): Planned {
  const table = useDocument<PlanTable>(key === null ? null : documentName("plan", key), turn);
  const streamed = useStream(request, turn);
  if (key === null) return streamed;
  if (table.problem !== null) return { ...NOTHING, state: "done", problem: table.problem, stop: nobody };
  if (!table.value) return { ...NOTHING, state: "waiting", stop: nobody };
  return { ...NOTHING, about: table.value, rows: table.value.rows, total: table.value.rows.length, state: "done", stop: nobody };
}

function begun(asked: Asked): Counting {
  const control = new AbortController();
  const own: Counting = { asked, key: sameOnEachCard(asked), now: { ...NOTHING, state: "waiting" }, control, draw: nobody };
  const next = (change: Partial<Counted>) => {
    if (control.signal.aborted) return;
    own.now = { ...own.now, ...change };
    own.draw();
  };
  counted(asked, control.signal, {
    onAbout: (about) => next({ about, total: about.total, state: "counting" }),
    onRow: (row) => next({ rows: [...own.now.rows, row] }),
  })
    .then(() => next({ state: "done" }))
    .catch((error: Error) => next({ state: "done", problem: error.message }));
  return own;
}

function useStream(request: Asked | null, turn: number): Planned {
  const [held, hold] = useState<{ request: Asked; own: Counting } | null>(null);
  const [, draw] = useState(0);
  const before = useRef(turn);
  useEffect(() => {
    const anew = before.current !== turn;
    before.current = turn;
    if (anew || request === null || counting?.key !== sameOnEachCard(request) || counting.now.problem !== null) {
      counting?.control.abort();
      counting = request && begun(request);
    }
    const own = counting;
    if (request === null || own === null) return;
    own.draw = () => draw((n) => n + 1);
    hold({ request, own });
    return () => { own.draw = nobody; };
  }, [request, turn]);
  if (request === null) return { ...NOTHING, stop: nobody };
  if (held?.request !== request) return { ...NOTHING, state: "waiting", stop: nobody };
  const { own } = held;
  const stop = () => {
    own.control.abort();
    own.now = { ...own.now, state: "stopped" };
    own.draw();
  };
  return { ...own.now, memory: own.asked.memory, stop };
}
