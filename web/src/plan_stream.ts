// Rows as the server counts them: one JSON document a line.
import type { PlanAbout, PlanRow } from "./documents";

export type StreamedAbout = PlanAbout & { total: number };
type Line = { about?: StreamedAbout; row?: PlanRow; done?: boolean; error?: { message?: string } };
type Told = { onAbout: (about: StreamedAbout) => void; onRow: (row: PlanRow) => void };

const BROKEN = "The answer of peftscope broke off: is 'peftscope explore' still running?";

/** Ask, and tell each line as it comes; it returns when all is counted, and raises what went wrong. */
export async function counted(request: unknown, signal: AbortSignal, told: Told): Promise<void> {
  let answer: Response;
  try {
    answer = await fetch("api/plan", {
      method: "POST", signal, body: JSON.stringify(request), headers: { "content-type": "application/json", accept: "application/x-ndjson" },
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("peftscope does not answer: is 'peftscope explore' still running?");
  }
  if (!answer.ok || !answer.body) {
    const text = await answer.text();
    throw new Error(messageIn(text) ?? (text.length < 300 && text && !text.startsWith("<") ? text : `peftscope refused this (${answer.status})`));
  }
  let done = false;
  for await (const text of lines(answer.body, signal)) {
    const line = read(text);
    if (line.error) throw new Error(line.error.message ?? "peftscope could not count this");
    if (line.about) told.onAbout(line.about);
    if (line.row) told.onRow(line.row);
    if (line.done) done = true;
  }
  if (!done) throw new Error(BROKEN);
}

/** Lines of a stream, whole ones only. */
async function* lines(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error) => {
        throw signal.aborted ? error : new Error(BROKEN);
      });
      const parts = (rest + decoder.decode(value, { stream: !done })).split("\n");
      rest = done ? "" : parts.pop()!;
      for (const part of parts) if (part.trim()) yield part;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => undefined);  // whoever counts for nobody can end
  }
}

function read(text: string): Line {
  try {
    return JSON.parse(text) as Line;
  } catch {
    throw new Error(BROKEN);
  }
}

function messageIn(text: string): string | null {
  try {
    return (JSON.parse(text) as Line)?.error?.message ?? null;
  } catch {
    return null;
  }
}
