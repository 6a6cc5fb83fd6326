// The cart: methods that were picked, in the address, with what is done with several of them.
import { useEffect, useState } from "preact/hooks";
import { CartCode } from "./cart_code";
import { CartStudy } from "./cart_study";
import { Comparison } from "./cart_table";
import type { Card, Shop } from "./documents";
import { Note } from "./parts";
import type { Memory } from "./shop_memory";
import { address } from "./state";
import type { Change, State } from "./state";

export const namesIn = (state: State): string[] => [...new Set((state.get("cart") ?? "").split(",").filter(Boolean))];

export const asCart = (names: string[]): Change => ({ cart: names.join(",") || undefined });

type Props = { shop: Shop; cards: Card[]; state: State; change: (values: Change) => void };

function go(): void {
  const section = document.getElementById("cart");
  section?.scrollIntoView();
  section?.querySelector("h2")?.focus({ preventScroll: true });
}

/** Stays at the lower edge until the cart itself is in sight. */
export function CartBar({ cards, state }: { cards: Card[]; state: State }) {
  const [first, second, ...more] = cards.map((c) => c.title);
  const names = more.length > 2 ? `${first}, ${second} and ${more.length} more` : [first, second, ...more].filter(Boolean).join(", ");
  return (
    <div class={cards.length ? "cartbar" : "cartbar unseen"}>
      <span role="status">{cards.length ? `${cards.length} in the cart: ${names}` : "The cart is empty."}</span>
      {cards.length > 0 && (
        <a class="button" href={address("shop", { ...state.all, s: "cart" })} onClick={go}>{cards.length > 1 ? "Open and compare" : "Open"}</a>
      )}
    </div>
  );
}

export function Cart({ shop, cards, memory, state, change }: Props & { memory: Memory }) {
  const asked = state.get("s");
  const tall = memory.rows.size;  // memory that comes late makes the cards above taller
  useEffect(() => {
    if (asked === "cart") go();
  }, [asked, tall]);
  const without = (name: string) => {
    change(asCart(namesIn(state).filter((n) => n !== name)));
    document.getElementById("cart-title")?.focus({ preventScroll: true });  // the button that was pressed is gone
  };
  return (
    <section id="cart" aria-labelledby="cart-title">
      <h2 id="cart-title" tabIndex={-1}>Cart</h2>
      {!cards.length && <p class="quiet">Nothing yet. What is put here from its card, or from the list below, is compared side by side, and becomes a study of your own data.</p>}
      <ul class="picked" aria-label="Methods in the cart">
        {cards.map((card) => (
          <li>{card.title} <button type="button" aria-label={`Remove ${card.title}`} onClick={() => without(card.name)}>×</button></li>
        ))}
      </ul>
      <Adding shop={shop} cards={cards} state={state} change={change} />
      {cards.length === 1 && <Note>One more, and they are compared side by side.</Note>}
      {cards.length > 1 && <Comparison shop={shop} cards={cards} memory={memory} state={state} change={change} />}
      {cards.length > 0 && <CartCode cards={cards} state={state} change={change} />}
      {cards.length > 0 && <CartStudy shop={shop} cards={cards} state={state} change={change} />}
    </section>
  );
}

function Adding({ shop, cards, state, change }: Props) {
  const [name, set] = useState("");
  const others = shop.cards.filter((c) => !cards.includes(c)).sort((a, b) => a.title.localeCompare(b.title, "en", { ignorePunctuation: true }));
  const add = () => {
    if (others.some((c) => c.name === name)) change(asCart([...namesIn(state), name]));
    set("");
  };
  return (
    <form class="controls" aria-label="More for the cart" onSubmit={(event) => { event.preventDefault(); add(); }}>
      <label>another method{" "}
        <select value={name} onChange={(event) => set(event.currentTarget.value)}>
          <option value="" selected={!name}>choose</option>
          {others.map((c) => <option value={c.name} selected={c.name === name}>{c.title}</option>)}
        </select>
      </label>
      <button type="submit">Add to cart</button>
      {cards.length > 0 && <button type="button" onClick={() => { change(asCart([])); document.getElementById("cart-title")?.focus(); }}>Empty the cart</button>}
    </form>
  );
}
