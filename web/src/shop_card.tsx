// A method as a card: what it is, what was measured of it, what it can do, and everything else to be opened.
import { useMemo, useState } from "preact/hooks";
import type { Able, Card, Shop } from "./documents";
import { Code } from "./parts";
import type { Fit } from "./shop_memory";
import { Strip } from "./strip";
import type { Range } from "./strip";

/** What a card shows at first sight, under short names. */
const MAIN: [string, string][] = [
  ["merge", "merges"], ["nf4", "NF4 base"], ["several", "several adapters"], ["convert", "converts to LoRA"], ["vllm", "vLLM"],
  ["llama.cpp", "llama.cpp"], ["diffusers", "diffusers"],
];
const NO_FAMILY = "none";
export const SAID: Record<Able, string> = { yes: "yes", no: "no", unknown: "not known" };
export const SIGN: Record<Able, string> = { yes: "✓", no: "✗", unknown: "?" };

export type CardProps = {
  card: Card;
  shop: Shop;
  ranges: Record<string, Range | null>;
  inCart: boolean;
  toggle: (name: string) => void;
  sortedText: string | null;
  memory: string | null;
  fitText: string | null;
  fitState: Fit["state"] | null;
};

/** Drawn anew only when something of it has changed: a letter typed into the search moves cards and redraws none. */
export function MethodCard(props: CardProps) {
  return useMemo(() => <Drawn {...props} />, [
    props.card, props.shop, props.ranges, props.inCart, props.toggle, props.sortedText, props.memory, props.fitText, props.fitState,
  ]);
}

function Drawn({ card, shop, ranges, inCart, toggle, sortedText, memory, fitText, fitState }: CardProps) {
  const id = `card-${card.name}`;
  const act = inCart ? "Remove from cart" : "Add to cart";
  return (
    <li class={card.trains ? "method" : "method refused"}>
      <article aria-labelledby={id}>
        <header><h3 id={id}>{card.title}</h3>{card.family !== NO_FAMILY && <span class="tag">{card.family}</span>}</header>
        {sortedText && <p class="by">{sortedText}</p>}
        {card.refused && <p class="flag">Not trained here: {card.refused}</p>}
        <p>{card.summary}</p>
        {card.paper && <p class="fineprint"><Paper paper={card.paper} /></p>}
        <Results card={card} shop={shop} ranges={ranges} />
        {memory && <p class="fineprint">{memory}</p>}
        {fitText && <p class={`fit ${fitState}`}>{fitText}</p>}
        <Badges card={card} shop={shop} />
        {card.adoption && <p class="fineprint">{card.adoption}</p>}
        <button type="button" aria-label={`${act}: ${card.title}`} onClick={() => toggle(card.name)}>{act}</button>
        <More card={card} shop={shop} />
      </article>
    </li>
  );
}

export function Paper({ paper }: { paper: NonNullable<Card["paper"]> }) {
  if (!paper.address) return <>{paper.title}, {paper.year}</>;
  return <><a href={paper.address} target="_blank" rel="noreferrer">{paper.title}</a>, {paper.year}</>;
}

function Results({ card, shop, ranges }: Pick<CardProps, "card" | "shop" | "ranges">) {
  const found = shop.tasks.filter((task) => card.measured[task.key] && ranges[task.key]);
  if (!found.length) return <p class="fineprint">No published result.</p>;
  return (
    <>
      {found.map((task) => (
        <div class="result">
          <h4 title={task.about}>{task.title}, {task.axis.title}</h4>
          <Strip measured={card.measured[task.key]!} task={task} range={ranges[task.key]!} />
          <p>{card.measured[task.key]!.text}</p>
        </div>
      ))}
    </>
  );
}

function Badges({ card, shop }: Pick<CardProps, "card" | "shop">) {
  const shown = MAIN.filter(([name]) => shop.capabilities.some((c) => c.name === name));
  return (
    <ul class="badges" aria-label="What it can do">
      {shown.map(([name, label]) => {
        const able = card.able[name] ?? "unknown";
        return (
          <li class={able} title={card.reasons[name] ?? shop.capabilities.find((c) => c.name === name)!.about}>
            <span class="unseen">{SAID[able]}: </span><span>{label}{able === "unknown" && <span aria-hidden="true"> ?</span>}</span>
          </li>
        );
      })}
    </ul>
  );
}

/** Made when it is opened. */
function More({ card, shop }: Pick<CardProps, "card" | "shop">) {
  const [open, set] = useState(false);
  return (
    <details onToggle={(event) => set(event.currentTarget.open)}>
      <summary>Details<span class="unseen"> of {card.title}</span></summary>
      {open && <Everything card={card} shop={shop} />}
    </details>
  );
}

const LinesUnder = ({ title, lines }: { title: string; lines: string[] }) =>
  lines.length ? <><h4>{title}</h4><ul>{lines.map((line) => <li>{line}</li>)}</ul></> : null;

function Everything({ card, shop }: Pick<CardProps, "card" | "shop">) {
  const base = shop.cards.find((c) => c.name === card.variant_of);
  return (
    <div class="everything">
      <LinesUnder title="In short" lines={[
        `called ${card.name} in a study`,
        ...(card.peft_type ? [`PeftType.${card.peft_type} in peft`] : []),
        ...(card.variant_of ? [`a variant of ${base?.title ?? card.variant_of}`] : []),
        ...(card.rate ? [`learning rate: ${card.rate}`] : []),
      ]} />
      <LinesUnder title="Needs" lines={card.needs} />
      <LinesUnder title="Limits" lines={card.limits} />
      {shop.tasks.map((task) => (
        <LinesUnder title={`Configurations measured: ${task.title}`} lines={(card.measured[task.key]?.points ?? []).map((p) => `${p.experiment}: ${p.text}`)} />
      ))}
      <h4>What it can do</h4>
      {shop.groups.map((group) => (
        <>
          <h5>{group.title}</h5>
          <ul class="abilities">
            {shop.capabilities.filter((c) => c.group === group.name).map((c) => <Ability card={card} name={c.name} title={c.title} about={c.about} />)}
          </ul>
        </>
      ))}
      {card.snippets.map((s) => (
        <>
          <h4>{s.title}</h4>
          {s.about && <p class="fineprint">{s.about}</p>}
          <Code text={s.code} label={`${s.title}: ${card.title}`} />
        </>
      ))}
    </div>
  );
}

function Ability({ card, name, title, about }: { card: Card; name: string; title: string; about: string }) {
  const able = card.able[name] ?? "unknown";
  return (
    <li class={able} title={about}>
      <span class="sign" aria-hidden="true">{SIGN[able]}</span> {title}: {SAID[able]}{card.figures[name] && `, ${card.figures[name]}`}
      {card.reasons[name] && <small>{card.reasons[name]}</small>}
    </li>
  );
}
