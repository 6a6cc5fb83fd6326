// The two metrics of a plot: chosen in lists, kept in the address.
import type { Change, State } from "./state";

export function AxisSelect({ label, value, axes, onChange }: {
  label: string; value: string; axes: Record<string, { label: string }>; onChange: (value: string) => void;
}) {
  return (
    <label>{label}{" "}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {Object.entries(axes).map(([name, axis]) => <option value={name} selected={name === value}>{axis.label}</option>)}
      </select>
    </label>
  );
}

/** The two metrics of a front as the address has them, or those shown first. */
export function axesIn(state: State, first: [string, string], known: Record<string, unknown>, score: string | null = null): [string, string] {
  const named = (given: string | undefined) =>  // methods have the score by its metric's name, runs by that of the record
    given === score && !Object.hasOwn(known, given!) ? "test_score" : given === "test_score" && score && Object.hasOwn(known, score) ? score : given;
  const [x, y] = [named(state.get("x")), named(state.get("y"))];
  const [a, b] = [x && Object.hasOwn(known, x) ? x : first[0], y && Object.hasOwn(known, y) ? y : first[1]];
  return a === b ? first : [a, b];
}

/** A metric against itself is none: the two change places. */
export function axesChanged(now: [string, string], place: 0 | 1, value: string): Change {
  const next: [string, string] = [...now];
  next[place] = value;
  if (next[0] === next[1]) next[1 - place] = now[place];
  return { x: next[0], y: next[1] };
}
