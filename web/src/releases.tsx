import type { Place } from "./state";

export function ReleasesView(_: Place) {
  return <h1>Releases</h1>;
}
