import type { Place } from "./state";

export function PlanView(_: Place) {
  return <h1>Plan</h1>;
}
