// A document of the server or of the page, as what draws it holds it.
import { useEffect, useState } from "preact/hooks";
import { inPage, load } from "./documents";

export type Loaded<T> = { value: T | null; problem: string | null };

/** What lies in the page is there at the first draw; `turn` asks anew. */
export function useDocument<T>(name: string | null, turn = 0): Loaded<T> {
  const [found, set] = useState<Loaded<T> & { name: string | null }>({ name: null, value: null, problem: null });
  useEffect(() => {
    if (name === null) return;
    let current = true;
    load<T>(name)
      .then((value) => current && set({ name, value, problem: null }))
      .catch((error: Error) => current && set({ name, value: null, problem: error.message }));
    return () => { current = false; };
  }, [name, turn]);
  if (name !== null && inPage<T>(name) !== undefined) return { value: inPage<T>(name)!, problem: null };
  return found.name === name ? found : { value: null, problem: null };
}
