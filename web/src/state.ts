// Where the reader is: the whole view lives in the part of the address after #, so that a copied link shows the same.
import { useCallback, useEffect, useState } from "preact/hooks";

export type State = { view: string; get: (key: string) => string | undefined; all: Record<string, string> };
export type Change = Record<string, string | undefined>;
export type Place = { state: State; change: (values: Change) => void; href: (view: string, values?: Change) => string };

function read(): State {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const all = Object.fromEntries(new URLSearchParams(query));
  return { view: path, get: (key) => all[key], all };
}

export const address = (view: string, values: Change): string => {
  const kept = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
};

const SHARED = ["study", "cart", "on", "gpu"];
const QUICK = ["pick", "only", "find"];

/** The state, and what changes some of it; `href` goes elsewhere and keeps what every view shares. */
export function usePlace(): Place {
  const [state, set] = useState(read);
  useEffect(() => {
    const moved = () => set(read());
    addEventListener("hashchange", moved);
    addEventListener("popstate", moved);
    return () => {
      removeEventListener("hashchange", moved);
      removeEventListener("popstate", moved);
    };
  }, []);
  const change = useCallback((values: Change) => {
    const now = read();
    const next = address(now.view, { ...now.all, ...values });
    const quick = Object.keys(values).every((key) => key.startsWith("max.") || key.startsWith("set.") || QUICK.includes(key));
    const closed = Object.keys(values).every((key) => key === "run" && values[key] === undefined);
    // a slider that is dragged, a word that is typed and a run that is closed leave no trail
    if (quick || closed) history.replaceState(null, "", next);
    else history.pushState(null, "", next);
    set(read());
  }, []);
  const href = useCallback(
    (view: string, values: Change = {}) => address(view, { ...Object.fromEntries(SHARED.map((key) => [key, state.get(key)])), ...values }),
    [state],
  );
  return { state, change, href };
}
