import type { Place } from "./state";

export function ShopView(_: Place) {
  return <h1>Shop</h1>;
}
