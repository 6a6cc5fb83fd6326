// What methods answered to the same examples.
import { useState } from "preact/hooks";
import type { Example, Study } from "./documents";
import { Mark } from "./marks";
import { count } from "./parts";

export function AnswersSection({ study }: { study: Study }) {
  const [shown, show] = useState(2);
  return (
    <section id="outputs">
      <h2 tabIndex={-1}>Answers</h2>
      <p>Answers that runs kept, of each method's first seed; examples that most got wrong come first. Beside a few of every run those are kept that were wrong, so that not every method has an answer to each.</p>
      {study.outputs.slice(0, shown).map((example) => <Answered study={study} example={example} methods={Object.keys(example.answers)} />)}
      {study.outputs.length > shown && (
        <button type="button" class="screen" onClick={() => show(study.outputs.length)}>{count(study.outputs.length - shown, "more example")}</button>
      )}
    </section>
  );
}

/** One example with the answers of some methods. */
export function Answered({ study, example, methods }: { study: Study; example: Example; methods: string[] }) {
  return (
    <div class="example">
      <div class="asked">
        <h3>{example.id}</h3>
        <pre tabIndex={0} role="region" aria-label={`Prompt of ${example.id}`}>{example.prompt}</pre>
        <p class="quiet">Right: <strong>{example.target}</strong></p>
      </div>
      <div class="answers">
        {methods.filter((m) => m in example.answers).map((m) => {
          const answer = example.answers[m]!;
          return (
            <div class={answer.right === null ? "" : answer.right ? "right" : "wrong"}>
              <h4><Mark mark={study.methods[m]} />{m} <span class="quiet">{answer.right === null ? answer.score : answer.right ? "✓ right" : "✗ wrong"}</span></h4>
              <pre tabIndex={0} role="region" aria-label={`Answer of ${m} to ${example.id}`}>{answer.output || "(nothing)"}</pre>
            </div>
          );
        })}
      </div>
    </div>
  );
}
