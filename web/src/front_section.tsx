// The front in the report: a plot of any two metrics, and the same as tables.
import { useMemo, useState } from "preact/hooks";
import { axesChanged, axesIn, AxisSelect } from "./axes";
import type { Study } from "./documents";
import { axisOf, frontFor, frontPath, frontPoints, placeText } from "./front";
import { Mark } from "./marks";
import { Scroll } from "./parts";
import { beyondText, NONE_PICKED, Scatter } from "./scatter";
import type { Change, State } from "./state";

export function FrontSection({ study, state, change }: { study: Study; state: State; change: (values: Change) => void }) {
  const { axes, default: first } = study.front;
  const [x, y] = first ? axesIn(state, first, axes) : ["", ""];
  const found = frontFor(study, x, y);
  const points = useMemo(() => (found ? frontPoints(study, x, y, found) : []), [study, x, y]);
  const path = useMemo(() => (found ? frontPath(study, x, y, found) : []), [study, x, y]);
  const [a, b] = [useMemo(() => axes[x] && axisOf(axes[x]), [study, x]), useMemo(() => axes[y] && axisOf(axes[y]), [study, y])];
  const [picked, pick] = useState(NONE_PICKED);
  if (!first || !a || !b || !axes[x] || !axes[y])
    return <section id="front"><h2 tabIndex={-1}>Front</h2><p class="quiet">No two metrics have values yet.</p></section>;
  const controls = (
    <div class="controls">
      <AxisSelect label="across" value={x} axes={axes} onChange={(value) => change(axesChanged([x, y], 0, value))} />
      <AxisSelect label="up" value={y} axes={axes} onChange={(value) => change(axesChanged([x, y], 1, value))} />
    </div>
  );
  if (!found)
    return <section id="front"><h2 tabIndex={-1}>Front</h2>{controls}<p class="note">No method has both figures: choose other axes.</p></section>;
  const names = points.map((p) => p.name);
  const hidden = study.tiers.table.rows.length - names.length;
  const zero = [x, y].filter((n) => axes[n]!.floor !== null && names.some((m) => study.front.points[n]![m]!.value <= axes[n]!.floor!));
  const caption = [
    ...[x, y].map((n) => `${axes[n]!.label}: ${axes[n]!.better}; ${axes[n]!.window}`.replace(/\.?$/, ".")),
    zero.length ? `Zero has no place on a logarithmic axis and is drawn on its edge (${zero.map((n) => axes[n]!.label).join(", ")}).` : "",
    beyondText(points, a, b),
    hidden ? `${hidden} without both values ${hidden === 1 ? "is" : "are"} not drawn.` : "",
  ];
  return (
    <section id="front">
      <h2 tabIndex={-1}>Front</h2>
      <p>
        Which methods are beaten by no other on both metrics at once? These are the front, joined by the line. Larger marks are more surely
        on it; <strong>hollow marks were trained once</strong>, and without scores per example their place has no probability.
      </p>
      {controls}
      <figure>
        <Scatter points={points} x={a} y={b} path={path} picked={picked} label={`${axes[y].label} against ${axes[x].label}`}
          onPick={(keys) => pick(new Set(keys.length === 1 && picked.has(keys[0]!) ? [] : keys))} />
        <figcaption aria-live="polite">{caption.filter(Boolean).join(" ")}</figcaption>
      </figure>
      <FrontTables study={study} x={x} y={y} names={names} />
    </section>
  );
}

function FrontTables({ study, x, y, names }: { study: Study; x: string; y: string; names: string[] }) {
  const found = frontFor(study, x, y)!;
  const axes = study.front.axes;
  const sign = axes[x]!.direction === "lower" ? 1 : -1;
  const byX = (a: string, b: string) => sign * (study.front.points[x]![a]!.value - study.front.points[x]![b]!.value);
  const members = names.filter((n) => found.members.includes(n)).sort(byX);
  const others = names.filter((n) => !found.members.includes(n))
    .sort((a, b) => (found.membership[b] ?? 0) - (found.membership[a] ?? 0) || byX(a, b));
  const rows = (given: string[]) => (
    <table>
      <thead><tr>{["method", axes[x]!.label, axes[y]!.label, "probability", "how sure"].map((h) => <th scope="col">{h}</th>)}</tr></thead>
      <tbody>
        {given.map((name) => {
          const beaten = found.removable[name];
          const note = beaten === undefined ? "" : `one standard error of the score could remove it${beaten.length ? `: ${beaten.join(", ")} would beat it` : ""}`;
          return (
            <tr>
              <th scope="row"><Mark mark={study.methods[name]} />{name}</th>
              <td>{study.front.points[x]![name]!.text}</td><td>{study.front.points[y]![name]!.text}</td>
              <td>{placeText(found.membership[name], study.methods[name])}</td><td class="wrap">{note}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
  return (
    <>
      <h3>On the front</h3>
      <Scroll label="Members of the front">{rows(members)}</Scroll>
      {others.length > 0 && <details><summary>The other candidates</summary><Scroll label="Candidates beside the front">{rows(others)}</Scroll></details>}
      {found.notes.length > 0 && <details><summary>Notes on this front</summary><ul>{found.notes.map((n) => <li>{n}</li>)}</ul></details>}
    </>
  );
}
