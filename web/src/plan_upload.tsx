// A config.json of the reader's own: chosen or dropped, checked here, then sent to the server on this machine.
import { useState } from "preact/hooks";
import { Note, Problem } from "./parts";
import { MOST_CONFIG_BYTES } from "./plan_state";
import type { Config } from "./plan_state";
import { sizeText } from "./plan_text";

/** What the file holds, or a sentence on why it cannot be taken; one that is too large is not read at all. */
async function configIn(file: File): Promise<Config | string> {
  if (file.size > MOST_CONFIG_BYTES)
    return `${file.name} has ${sizeText(file.size)}; a model's config.json has a few kB, and more than ${sizeText(MOST_CONFIG_BYTES)} is not read.`;
  let text: string;
  try {
    text = await file.text();
  } catch {
    return `${file.name} cannot be read.`;
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return `${file.name} is not JSON: ${(error as Error).message}`;
  }
  if (typeof content !== "object" || content === null || Array.isArray(content))
    return `${file.name} holds ${Array.isArray(content) ? "a list" : content === null ? "nothing" : `a ${typeof content}`}, and a config.json holds a mapping of names to values.`;
  return { name: file.name, content: content as Record<string, unknown> };
}

export function PlanUpload({ config, onConfig }: { config: Config | null; onConfig: (config: Config) => void }) {
  const [problem, setProblem] = useState<string | null>(null);
  const [over, setOver] = useState(false);
  const take = async (file: File | undefined) => {
    if (!file) return;
    const found = await configIn(file);
    setProblem(typeof found === "string" ? found : null);
    if (typeof found !== "string") onConfig(found);
  };
  return (
    <>
      <div class={over ? "drop over" : "drop"} onDragLeave={() => setOver(false)}
        onDragOver={(event) => { event.preventDefault(); setOver(true); }}
        onDrop={(event) => { event.preventDefault(); setOver(false); take(event.dataTransfer?.files[0]); }}>
        <label>
          <input type="file" class="unseen" accept=".json,application/json"
            onChange={(event) => { const field = event.currentTarget; take(field.files?.[0]).then(() => { field.value = ""; }); }} />
          <span class="button">Choose a config.json</span>
        </label>
        <span class="quiet">or drop it here{config && <>; now: <strong>{config.name}</strong></>}</span>
      </div>
      {problem && <Problem text={problem} />}
      {!problem && <Note>The file goes to the server on this machine and is in no address: whoever follows a link to this view chooses it anew.</Note>}
    </>
  );
}
