// Code of all methods in the cart: how each is trained, saved, merged.
import type { Card } from "./documents";
import { Code, Copy } from "./parts";
import type { Change, State } from "./state";

export function CartCode({ cards, state, change }: { cards: Card[]; state: State; change: (values: Change) => void }) {
  const kinds = new Map(cards.flatMap((card) => card.snippets.map((s) => [s.key, s.title] as const)));
  if (!kinds.size) return null;
  const asked = state.get("code");
  const kind = asked && kinds.has(asked) ? asked : [...kinds.keys()][0]!;
  const found = cards.map((card) => ({ card, snippet: card.snippets.find((s) => s.key === kind) }));
  const all = found.flatMap(({ card, snippet }) => (snippet ? [`# ${card.title}\n${snippet.code.trimEnd()}\n`] : [])).join("\n");
  return (
    <>
      <h3>Code</h3>
      <form class="controls" aria-label="Which code" onSubmit={(event) => event.preventDefault()}>
        <label>what for{" "}
          <select value={kind} onChange={(event) => change({ code: event.currentTarget.value })}>
            {[...kinds].map(([key, title]) => <option value={key} selected={key === kind}>{title}</option>)}
          </select>
        </label>
        <Copy text={all} title="Copy all" label={`${kinds.get(kind)} of the cart's methods`} />
      </form>
      {found.map(({ card, snippet }) => (
        <>
          <h4>{card.title}</h4>
          {snippet?.about && <p class="quiet">{snippet.about}</p>}
          {snippet ? <Code text={snippet.code} label={`${snippet.title}: ${card.title}`} /> : <p class="quiet">It has no such code.</p>}
        </>
      ))}
    </>
  );
}
