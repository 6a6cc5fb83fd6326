// Every method as a card: searched, filtered, sorted, put into the cart.
import { useCallback, useMemo, useRef } from "preact/hooks";
import { asCart, Cart, CartBar, namesIn } from "./cart";
import type { Shop } from "./documents";
import { count, Note, Problem, Waiting } from "./parts";
import { MethodCard } from "./shop_card";
import { NOTHING_WANTED, passes, sorted, sortedText, sortsOf, unknownIn, wantedIn, withoutFigure } from "./shop_choice";
import { Controls, Filters } from "./shop_filters";
import { fitOf, memoryText, useMemory } from "./shop_memory";
import type { Place } from "./state";
import { rangeOf } from "./strip";
import { useDocument } from "./use_document";

export function ShopView(place: Place) {
  const shop = useDocument<Shop>("shop");
  if (shop.problem) return <Problem text={shop.problem} />;
  if (!shop.value) return <Waiting text="Reading the cards of all methods…" />;
  return <Shown shop={shop.value} {...place} />;
}

function Shown({ shop, state, change }: Place & { shop: Shop }) {
  const memory = useMemory(state);
  const wanted = wantedIn(state);
  const sorts = useMemo(() => sortsOf(shop, memory), [shop, memory.rows, memory.title]);
  const sort = sorts.find((s) => s.key === state.get("sort"))?.key ?? "name";
  const inOrder = useMemo(() => sorted(shop.cards, sort, shop, memory), [shop, sort, memory.rows]);
  const shown = inOrder.filter((card) => passes(card, wanted));
  const ranges = useMemo(() => Object.fromEntries(shop.tasks.map((task) => [task.key, rangeOf(task, shop.cards)])), [shop]);
  const names = namesIn(state);
  const inCart = names.flatMap((name) => shop.cards.filter((card) => card.name === name));
  const now = useRef(names);
  now.current = names;
  const toggle = useCallback(
    (name: string) => change(asCart(now.current.includes(name) ? now.current.filter((n) => n !== name) : [...now.current, name])), [change]);
  const strangers = names.filter((name) => !shop.cards.some((card) => card.name === name));
  return (
    <>
      <Head shop={shop} />
      {[...unknownIn(wanted, shop), ...memory.notes].map((note) => <Note>{note}</Note>)}
      {strangers.length > 0 && (
        <p class="note">Not among these methods, but in the cart: {strangers.join(", ")}.{" "}
          <button type="button" onClick={() => change(asCart(inCart.map((c) => c.name)))}>Take out</button></p>
      )}
      <Controls shop={shop} wanted={wanted} sorts={sorts} sort={sort} memory={memory} shown={shown.length}
        missing={withoutFigure(shown, sort, shop, memory)} change={change} />
      <div class="shop">
        <Filters shop={shop} wanted={wanted} change={change} />
        <div>
          <h2 class="unseen">Methods</h2>
          {shown.length ? (
            <ul class="methods">
              {shown.map((card) => {
                const fit = fitOf(memory, card.name);
                return (
                  <MethodCard key={card.name} card={card} shop={shop} ranges={ranges} inCart={names.includes(card.name)} toggle={toggle}
                    sortedText={sortedText(card, sort, shop)} memory={card.refused ? null : memoryText(memory, card.name)} fitText={fit?.text ?? null} fitState={fit?.state ?? null} />
                );
              })}
            </ul>
          ) : <p class="note">No method has all of this. <button type="button" onClick={() => change(NOTHING_WANTED)}>Show all</button></p>}
        </div>
      </div>
      <CartBar cards={inCart} state={state} />
      <Cart shop={shop} cards={inCart} memory={memory} state={state} change={change} />
    </>
  );
}

function Head({ shop }: { shop: Shop }) {
  const [first, ...more] = shop.adoption.lines;
  const versions = Object.entries(shop.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return (
    <>
      <h1>Shop: {count(shop.cards.length, "method")}</h1>
      <p class="facts">What each can do was tried, not looked up: {shop.made}, with {versions}.</p>
      {first && (more.length
        ? <details class="adoption"><summary>{first}</summary><ul>{more.map((line) => <li>{line}</li>)}</ul></details>
        : <p>{first}</p>)}
      {shop.tasks.length > 0 && (
        <details class="adoption">
          <summary>How to read the measured scores</summary>
          {shop.tasks.map((task) => <p><b>{task.title}, {task.axis.title}.</b> {task.about}</p>)}
          <p>A row is a configuration, the best of them in colour; its bar is its interval, and it is hollow where it has none. All methods of a task are on one scale.</p>
        </details>
      )}
    </>
  );
}
