// One run, opened over whatever was on screen.
import { useEffect, useRef, useState } from "preact/hooks";
import { OneCourse, spanOf } from "./curves";
import { documentName, load } from "./documents";
import type { RunDetails, Study } from "./documents";
import { Code, LinesOf, Outputs } from "./parts";
import { Panel } from "./training_sections";

type Props = { id: string; name: string; study: Study | null; onClose: () => void };

export function RunDialog({ id, name, study, onClose }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const [found, set] = useState<RunDetails | null>(null);
  const [problem, report] = useState("");
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    return () => before?.focus?.();
  }, []);
  useEffect(() => {
    let current = true;
    set(null);
    report("");
    load<RunDetails>(documentName(name, "run", id))
      .then((details) => current && set(details))
      .catch((error: Error) => current && report(error.message));
    return () => { current = false; };
  }, [id, name]);
  return (
    <dialog ref={box} class="run" aria-labelledby="run-title" onClose={onClose} onClick={(event) => event.target === box.current && box.current?.close()}>
      <div class="inside">
        <header>
          <h2 id="run-title">{found ? found.title : `Run ${id}`}</h2>
          <button type="button" onClick={() => box.current?.close()}>Close</button>
        </header>
        {problem && <p class="note" role="alert">{problem}</p>}
        {!found && !problem && <p class="quiet" role="status">Reading the record…</p>}
        {found && <Details found={found} study={study} />}
      </div>
    </dialog>
  );
}

function Details({ found, study }: { found: RunDetails; study: Study | null }) {
  const entry = study?.learning_rates.find((e) => e.method === found.method);
  const kind = entry && spanOf([entry], "loss") ? "loss" : "score";
  return (
    <>
      {found.sections.slice(0, 2).map((s) => <section><h3>{s.title}</h3><LinesOf lines={s.lines} /></section>)}
      {found.command && <section><h3>To repeat it</h3><Code text={found.command} label="The command" /></section>}
      {found.traceback && <section><h3>Traceback</h3><pre tabIndex={0}>{found.traceback}</pre></section>}
      {found.curve && (
        <section>
          <h3>Training</h3>
          {found.curve.loss.steps.length > 0 && <OneCourse line={found.curve.loss} y="training loss" />}
          {found.curve.score.steps.length > 0 && <OneCourse line={found.curve.score} y="validation score" />}
        </section>
      )}
      {entry && study && <section><h3>How its learning rate was found</h3><Panel study={study} entry={entry} kind={kind} span={spanOf([entry], kind)} /></section>}
      {found.outputs.length > 0 && (
        <section>
          <h3>Answers, the worst first</h3>
          {found.outputs.map((o) => (
            <Outputs prompt={o.prompt} target={o.target}>
              <div><h4>{o.id}: scored {o.score}</h4><pre tabIndex={0}>{o.output || "(nothing)"}</pre></div>
            </Outputs>
          ))}
        </section>
      )}
      {found.pictures.map((p) => <figure><img src={p.address} alt={p.about} /><figcaption>{p.about}</figcaption></figure>)}
      {found.sections.slice(2).map((s) => <details><summary>{s.title}</summary><LinesOf lines={s.lines} /></details>)}
      <details><summary>Its whole specification</summary><Code text={JSON.stringify(found.config, null, 1)} label="Specification" /></details>
    </>
  );
}
