// What methods take, as a view holds it: a table that was made before, or rows as they are counted.
import { useEffect, useRef, useState } from "preact/hooks";
import { documentName } from "./documents";
import type { PlanAbout, PlanRow, PlanTable } from "./documents";
import { counted } from "./plan_stream";
import { useDocument } from "./use_document";

export type Planned = {
  about: PlanAbout | null;
  rows: PlanRow[];
  /** Of all methods that are asked about; null while that is not known. */
  total: number | null;
  state: "nothing" | "waiting" | "counting" | "stopped" | "done";
  problem: string | null;
  stop: () => void;
};
type Counted = Omit<Planned, "stop"> & { request: unknown };

const NOTHING: Omit<Planned, "stop"> = { about: null, rows: [], total: null, state: "nothing", problem: null };

/** The table `key`, or else what the server counts for `request`; `turn` asks anew. */
export function usePlan(key: string | null, request: unknown, turn: number): Planned {
  const table = useDocument<PlanTable>(key === null ? null : documentName("plan", key), turn);
  const streamed = useStream(request, turn);
  if (key === null) return streamed;
  const stop = () => undefined;
  if (table.problem !== null) return { ...NOTHING, state: "done", problem: table.problem, stop };
  if (!table.value) return { ...NOTHING, state: "waiting", stop };
  return { about: table.value, rows: table.value.rows, total: table.value.rows.length, state: "done", problem: null, stop };
}

function useStream(request: unknown, turn: number): Planned {
  const [found, set] = useState<Counted>({ ...NOTHING, request: null });
  const control = useRef<AbortController | null>(null);
  useEffect(() => {
    if (request === null) return;
    const own = new AbortController();
    control.current = own;
    const next = (change: (now: Counted) => Partial<Counted>) => !own.signal.aborted && set((now) => ({ ...now, ...change(now) }));
    set({ ...NOTHING, request, state: "waiting" });
    counted(request, own.signal, {
      onAbout: (about) => next(() => ({ about, total: about.total, state: "counting" })),
      onRow: (row) => next((now) => ({ rows: [...now.rows, row] })),
    })
      .then(() => next(() => ({ state: "done" })))
      .catch((error: Error) => next(() => ({ state: "done", problem: error.message })));
    return () => own.abort();
  }, [request, turn]);
  const stop = () => {
    control.current?.abort();
    set((now) => ({ ...now, state: "stopped" }));
  };
  if (request === null) return { ...NOTHING, stop };
  return found.request === request ? { ...found, stop } : { ...NOTHING, state: "waiting", stop };
}
