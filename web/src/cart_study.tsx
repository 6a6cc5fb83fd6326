// A study of the cart's methods on the reader's own data, as a file.
import type { Card, Shop } from "./documents";
import { Code, Note } from "./parts";
import { saveText } from "./save";
import type { Change, State } from "./state";

const FILE = "study.yaml";
const PLAIN = /^[a-z][a-z0-9.-]*$/;
const WORDS_OF_YAML = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/** A name as YAML reads it back as text. */
const item = (name: string) => (PLAIN.test(name) && !WORDS_OF_YAML.includes(name) ? name : JSON.stringify(name));

/** A text in the quotes of JSON, which is YAML but for some characters that YAML wants written out. */
const quoted = (text: string) =>
  JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

const WHOLE = /^\d{1,9}$/;

/** A field's value in YAML: a number stays one where the field holds one. */
const valueText = (value: string, first: string) => (WHOLE.test(value) && WHOLE.test(first) ? String(Number(value)) : quoted(value));

/** The template with every {{KEY}} filled in by what YAML reads, once: what is filled in is not looked through again. */
export const filled = (template: string, values: Record<string, string>, methods: string[]): string =>
  template.replace(/\{\{([\w-]+)\}\}/g, (whole, key: string) =>
    key === "methods" ? `[${methods.map(item).join(", ")}]` : Object.hasOwn(values, key) ? values[key]! : whole);

export function CartStudy({ shop, cards, state, change }: { shop: Shop; cards: Card[]; state: State; change: (values: Change) => void }) {
  const kinds = shop.modalities.filter((m) => shop.study[m.name]);
  const kind = kinds.find((m) => m.name === state.get("data")) ?? kinds[0];
  if (!kind) return null;
  const { template, fields, commands } = shop.study[kind.name]!;
  const keyOf = (field: string) => `set.${kind.name}.${field}`;
  const valueOf = (field: (typeof fields)[number]) => state.get(keyOf(field.key)) ?? field.value;
  const refused = cards.filter((c) => c.refused !== null);
  const others = cards.filter((c) => c.refused === null && !c.modalities.includes(kind.name));
  const methods = cards.filter((c) => !refused.includes(c) && !others.includes(c));
  const text = filled(template, Object.fromEntries(fields.map((f) => [f.key, valueText(valueOf(f), f.value)])), methods.map((c) => c.name));
  const titles = (of: Card[]) => of.map((c) => c.title).join(", ");
  return (
    <>
      <h3 id="study-title">Compare these on my data</h3>
      <p>A study trains every method under the same conditions with the same tuning budget. This is its file; the rest of its settings are written in it or at their defaults.</p>
      <form class="ownstudy" aria-labelledby="study-title" onSubmit={(event) => event.preventDefault()}>
        <fieldset class="picker">
          <legend>My data</legend>
          {kinds.map((m) => (
            <label><input type="radio" name="data" value={m.name} checked={m === kind} onChange={() => change({ data: m.name })} />{m.label}</label>
          ))}
        </fieldset>
        {fields.map((field) => (
          <p class="field" key={keyOf(field.key)}>
            <label for={keyOf(field.key)}>{field.label}</label>
            <Field id={keyOf(field.key)} value={valueOf(field)} long={field.value.includes("\n")} onChange={(value) => change({ [keyOf(field.key)]: value })} />
            <small id={`${keyOf(field.key)}-about`}>{field.about}</small>
          </p>
        ))}
      </form>
      {refused.length > 0 && <Note>Left out, as peftscope does not train them: {titles(refused)}.</Note>}
      {others.length > 0 && <Note>Left out, as they are not for {kind.label}: {titles(others)}.</Note>}
      {methods.length ? (
        <>
          <div class="whole"><Code text={text} label={FILE} /></div>
          <p><button type="button" onClick={() => saveText(FILE, text, "text/yaml")}>Download {FILE}</button></p>
          <h4>Then, at the terminal</h4>
          <Code text={commands.join("\n")} label="The commands" />
        </>
      ) : <Note>None of these can be compared on {kind.label}.</Note>}
    </>
  );
}

/** `long`: of several lines. */
function Field({ id, value, long, onChange }: { id: string; value: string; long: boolean; onChange: (value: string) => void }) {
  const shared = { id, value, spellcheck: false, "aria-describedby": `${id}-about` };
  return long
    ? <textarea {...shared} rows={value.split("\n").length} onInput={(event) => onChange(event.currentTarget.value)} />
    : <input {...shared} type="text" autocomplete="off" onInput={(event) => onChange(event.currentTarget.value)} />;
}
