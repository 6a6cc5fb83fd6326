// What several views show: tables, topics, lines of settings.
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { isLive } from "./documents";
import type { Cell, Lines, Method, Mark as MarkOf, Table as TableOf, Topic as TopicOf } from "./documents";
import { Mark } from "./marks";

const LONG = 600;
/** What is longer is a text that may wrap, no figure. */
const FIGURE_CHARS = 32;
const FIRST_ROWS = 200;
type Marks = Record<string, Method | MarkOf>;

/** A long text opens from its first line. */
export function Folded({ text }: { text: string }) {
  if (text.length <= LONG) return <>{text}</>;
  return <details><summary>{text.slice(0, text.lastIndexOf(" ", 110))} …</summary><p>{text}</p></details>;
}

export function Topic({ topic }: { topic: TopicOf }) {
  const [head, ...rows] = topic.rows;
  const wide = head?.map((_, i) => rows.some((row) => (row[i]?.length ?? 0) > FIGURE_CHARS)) ?? [];
  return (
    <div class="topic">
      <h3>{topic.title}</h3>
      {topic.lines.length === 1 ? <div class="line"><Folded text={topic.lines[0]!} /></div>
        : topic.lines.length > 0 && <ul>{topic.lines.map((line) => <li><Folded text={line} /></li>)}</ul>}
      {head && (
        <Scroll label={topic.title}>
          <table>
            <thead><tr>{head.map((text) => <th scope="col">{text}</th>)}</tr></thead>
            <tbody>{rows.map((row) => <tr>{row.map((text, i) => (i ? <td class={wide[i] ? "wrap" : ""}>{text}</td> : <th scope="row">{text}</th>))}</tr>)}</tbody>
          </table>
        </Scroll>
      )}
    </div>
  );
}

const TOPICS_FIRST = 3;

/** An answer in words: what matters first, the rest to be opened. */
export function Topics({ topics }: { topics: TopicOf[] }) {
  const [shown, more] = [topics.slice(0, TOPICS_FIRST), topics.slice(TOPICS_FIRST)];
  return (
    <>
      {shown.map((topic) => <Topic topic={topic} />)}
      {more.length > 0 && (
        <details class="more"><summary>More: {more.map((t) => t.title).join(" · ")}</summary>{more.map((t) => <Topic topic={t} />)}</details>
      )}
    </>
  );
}

export const Scroll = ({ label, children }: { label: string; children: ComponentChildren }) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={label}>{children}</div>
);

export const LinesOf = ({ lines }: { lines: Lines }) => (
  <dl class="lines">{lines.map(([name, text]) => <div><dt>{name}</dt><dd>{text}</dd></div>)}</dl>
);

export const Problem = ({ text, again }: { text: string; again?: () => void }) => (
  <div class="note" role="alert"><p>{text}</p>{again && isLive() && <button type="button" onClick={again}>Try again</button>}</div>
);

export const Waiting = ({ text }: { text: string }) => <div class="waiting"><p class="quiet" role="status">{text}</p></div>;

export const Note = ({ children }: { children: ComponentChildren }) => <p class="note">{children}</p>;

/** What a row is picked by. */
export const keyOf = (row: Cell[]): string => row[0]!.key ?? row[0]!.text;

const missing = (cell: Cell | undefined) => cell?.sort === null || cell?.sort === undefined;

/** A table that sorts by the heading that is pressed; what is missing stays last. */
export function Table({ table, caption, marks, id, runAt, picked, onPick }: {
  table: TableOf; caption: string; marks: Marks; id: string; runAt?: (run: string) => string;
  picked?: ReadonlySet<string>; onPick?: (key: string) => void;
}) {
  const [by, setBy] = useState<[number, 1 | -1] | null>(null);
  const [shown, show] = useState(FIRST_ROWS);
  const numeric = useMemo(
    () => table.headings.map((_, i) => table.rows.some((row) => typeof row[i]?.sort === "number")), [table]);
  const rows = useMemo(() => {
    if (!by) return table.rows;
    const [place, sign] = by;
    return [...table.rows].sort((a, b) => {
      const [p, q] = [a[place], b[place]];
      if (numeric[place]) {
        if (missing(p) || missing(q)) return Number(missing(p)) - Number(missing(q));
        return sign * ((p!.sort as number) - (q!.sort as number));
      }
      return sign * (p?.text ?? "").localeCompare(q?.text ?? "", undefined, { numeric: true });
    });
  }, [table, by, numeric]);
  return (
    <>
      <Scroll label={caption}>
        <table id={id} class="sortable">
          <caption>{caption}</caption>
          <thead>
            <tr>
              {onPick && <td class="pick" />}
              {table.headings.map((h, i) => (
                <th scope="col" title={h.window} class={numeric[i] ? "number" : ""}
                  aria-sort={by?.[0] === i ? (by[1] === 1 ? "ascending" : "descending") : undefined}>
                  <button type="button" onClick={() => setBy((now) => [i, now?.[0] === i && now[1] === 1 ? -1 : 1])}>{h.text}</button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, shown).map((row) => (
              <tr>
                {onPick && (
                  <td class="pick"><input type="checkbox" aria-label={`pick ${keyOf(row)}`} checked={picked?.has(keyOf(row))} onChange={() => onPick(keyOf(row))} /></td>
                )}
                {row.map((c, i) =>
                  c.method !== undefined
                    ? <th scope="row" title={c.title ?? undefined}><Mark mark={marks[c.method]} />{c.text}</th>
                    : <td class={numeric[i] ? "number" : ""} title={c.title ?? undefined}>
                        {c.run && runAt ? <a href={runAt(c.run)}>{c.text}</a> : c.text}
                      </td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {rows.length > shown && (
        <button type="button" onClick={() => show((n) => n + 5 * FIRST_ROWS)}>
          {rows.length - shown} more rows: show {Math.min(rows.length - shown, 5 * FIRST_ROWS)}
        </button>
      )}
    </>
  );
}

/** A button that puts a text on the clipboard. */
export function Copy({ text, label, title = "Copy" }: { text: string; label: string; title?: string }) {
  const [said, say] = useState<string | null>(null);
  useEffect(() => say(null), [text]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("Select it and copy by hand");
    }
  };
  return <button type="button" onClick={copy} aria-label={`${said ?? title}: ${label}`}>{said ?? title}</button>;
}

export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div class="code">
      <pre tabIndex={0} role="region" aria-label={label}>{text}</pre>
      <Copy text={text} label={label} />
    </div>
  );
}

export function Outputs({ prompt, target, children }: { prompt: string | null; target: string | null; children: ComponentChildren }) {
  return (
    <div class="example">
      {prompt !== null && <div><h4>Prompt</h4><pre tabIndex={0}>{prompt}</pre></div>}
      {target !== null && <div><h4>Right answer</h4><pre tabIndex={0}>{target}</pre></div>}
      {children}
    </div>
  );
}

export const shorten = (text: string, n = 28) =>
  text.length <= n ? text : `${text.slice(0, Math.ceil(n / 2) - 1)}…${text.slice(-Math.floor(n / 2))}`;

/** Names without what all but a few of them have in common after their first part, such as a model's name. */
export function shortNames(names: string[]): (name: string) => string {
  const rests = names.filter((n) => n.includes("/")).map((n) => n.slice(n.indexOf("/") + 1));
  if (rests.length < 4 || rests.length < 0.8 * names.length) return (name) => name;
  const [first, last] = [[...rests].sort()[0]!, [...rests].sort().at(-1)!];
  let same = 0;
  while (same < first.length && first[same] === last[same]) same++;
  same = first.slice(0, same).search(/[-_.][^-_.]*$/) + 1;
  const common = first.slice(0, same);
  return (name) => (same > 3 && name.includes(`/${common}`) ? name.replace(`/${common}`, "/") : name);
}

/** Lines of several runs or methods by their names, in the order in which they first come. */
export function sideBySide(all: [string, string][][]): [string, (string | undefined)[]][] {
  const maps = all.map((lines) => new Map(lines));
  return [...new Set(all.flatMap((lines) => lines.map(([key]) => key)))].map((key) => [key, maps.map((m) => m.get(key))]);
}

export const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
