"""What nano-lm reads: prose, sums, and stories that are worked out in other words than the task's.

The stories are told in other sentences and worked out in words or signs behind the story. No sentence of
``peftscope.tasks.text.stories`` stands in them, nor its form of worked answer: those are what fine-tuning is to teach.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from peftscope.tasks.text.general_text import read_general_text
from peftscope.tasks.text.stories import LARGEST, NAMES, PLACES, THINGS

__all__ = ["SHARES", "draw_documents", "facts", "prose", "write_copy", "write_fact"]

SHARES = {"story": 0.55, "sums": 0.15, "copying": 0.1, "prose": 0.2}
"""Share of the tokens of each component."""

HELD_OUT_PARAGRAPHS = 600
"""First paragraphs of the prose, never trained on: the measure of forgetting takes its text from there."""

MORE_NAMES = [
    "Ann", "Bob", "Carl", "Dora", "Eric", "Finn", "Gina", "Hank", "Iris", "John", "Kim", "Liam", "Mary", "Nick",
    "Olga", "Pete", "Rita", "Sue", "Tina", "Vera",
]  # fmt: skip
MORE_THINGS = [
    "pins", "hats", "bricks", "leaves", "socks", "rings", "seeds", "boats", "spoons", "bells", "flags", "maps",
    "ropes", "tiles", "buns", "kites",
]  # fmt: skip
MORE_PLACES = ["shelf", "tray", "cart", "tin", "chest", "bucket", "sack", "crate"]

CAME = (
    "{who} found {b}", "{who} bought {b}", "{who} was given {b} by {other}", "{other} brought {b}", "{b} were added",
    "{who} got {b} from {other}", "{other} gave {b} to {who}", "{who} picked up {b}", "{who} won {b}", "{b} came in",
    "another {b} were put there", "{other} had added {b}",
)  # fmt: skip
WENT = (
    "{who} lost {b}", "{who} sold {b}", "{who} gave {b} away", "{other} took {b}", "{b} were taken out",
    "{who} gave {b} to {other}", "{who} threw away {b}", "{b} broke", "{who} used up {b}", "{b} were thrown away",
    "{who} had to give up {b}", "{other} took away {b}",
)  # fmt: skip
WAS = (
    "There were {a} {things} in a {place}", "{who} had {a} {things}", "At first {who} kept {a} {things} in the {place}",
    "In the {place} of {who} there were {a} {things}", "{who} started out with {a} {things}",
    "The {place} held {a} {things}",
)  # fmt: skip
CAME_NOW = (
    "{who} finds {b}", "{who} buys {b}", "{other} hands {who} {b}", "{who} gets another {b}", "{other} adds {b}",
    "{b} get added", "{other} gives {who} {b} as a gift", "{who} picks up {b}",
)  # fmt: skip
WENT_NOW = (
    "{who} gives away {b}", "{who} hands {b} to {other}", "{other} takes away {b}", "{b} go to {other}",
    "{who} loses {b} of these", "{who} sells {b}", "{who} throws out {b}", "{who} gives up {b}",
)  # fmt: skip
IS = (
    "In a {place} lie {a} {things}", "{a} {things} belong to {who}", "{who} owns {a} {things}",
    "The {place} of {who} holds {a} {things}", "With {a} {things} {who} starts out",
)  # fmt: skip
TENSES = ((WAS, CAME, WENT), (IS, CAME_NOW, WENT_NOW))
JOINTS = (". Then {}. ", ", and then {}. ", ". Later {}. ", "; {}. ", ". {}. ", " before {}. ")
WORKING = ("Working it out: ", "So ", "Reckoning: ", "That means ", "In numbers, ", "")
ADDED = (
    "{a} and {b} make {c}",
    "{a} plus {b} is {c}",
    "{a} with {b} more is {c}",
    "{a} + {b} = {c}",
    "{a} and {b}: {c}",
)
TAKEN = (
    "{a} minus {b} is {c}", "{a} without {b} is {c}", "{a} take away {b} leaves {c}", "{a} - {b} = {c}",
    "{a} less {b}: {c}",
)  # fmt: skip
TIMES = ("{a} times {b} is {c}", "{a} groups of {b} make {c}", "{a} * {b} = {c}", "{a} lots of {b}: {c}")
WORDING = {"+": ADDED, "-": TAKEN, "*": TIMES}
HEADINGS = ("# {}", "## {}", "### {}", "#### {}")
MEANINGS = (
    ("finds", "+"), ("buys", "+"), ("gets", "+"), ("adds", "+"), ("receives", "+"), ("gives away", "-"),
    ("loses", "-"), ("sells", "-"), ("throws away", "-"), ("gives up", "-"), ("gives out", "-"), ("takes away", "-"),
)  # fmt: skip


def facts() -> list[tuple[int, str, int, int]]:
    """Every sum the task can ask for: left, sign, right, result."""
    top = range(1, LARGEST + 1)
    added = [(a, "+", b, a + b) for a in top for b in top if a + b <= LARGEST]
    taken = [(a, "-", b, a - b) for a in top for b in top if b < a]
    times = [(a, "*", b, a * b) for a in range(2, 6) for b in range(2, 6)]
    return added + taken + times


FACTS = facts()
TABLES = [fact for fact in FACTS if fact[1] == "*"]


def prose(*, held_out: bool) -> Iterator[str]:
    """Paragraphs of the prose: those kept apart, or all others."""
    for number, paragraph in enumerate(read_general_text("sotu")):
        if (number < HELD_OUT_PARAGRAPHS) == held_out:
            yield paragraph


def draw_documents(kind: str, rng: random.Random) -> Iterator[str]:
    """Documents of a component without end."""
    if kind == "prose":
        paragraphs = list(prose(held_out=False))
        while True:
            rng.shuffle(paragraphs)
            yield from paragraphs
    while True:
        if kind == "sums":
            yield rng.choice((_sum_list, _sum_list, _meaning))(rng)
        elif kind == "copying":
            yield rng.choice((_copied_line, _copied_list, _register, _sections))(rng)
        else:
            yield _story(rng)


def write_fact(fact: tuple[int, str, int, int]) -> tuple[str, str]:
    """A sum in signs, and its result as it follows."""
    a, sign, b, c = fact
    return f"{a} {sign} {b} =", f" {c}"


def write_copy(rng: random.Random) -> tuple[str, str]:
    """A line to copy, and the copy."""
    words = [rng.choice((_name, _thing, _number))(rng) for _ in range(rng.randint(3, 8))]
    line = " ".join(words)
    return f"Copy: {line} =>", f" {line}"


def _name(rng: random.Random) -> str:
    return rng.choice(NAMES if rng.random() < 0.6 else MORE_NAMES)


def _thing(rng: random.Random) -> str:
    return rng.choice(THINGS if rng.random() < 0.6 else MORE_THINGS)


def _place(rng: random.Random) -> str:
    return rng.choice(PLACES if rng.random() < 0.6 else MORE_PLACES)


def _number(rng: random.Random) -> str:
    return str(rng.randint(1, 99) if rng.random() < 0.2 else rng.randint(1, LARGEST))


def _fact(rng: random.Random) -> tuple[int, str, int, int]:
    return rng.choice(TABLES if rng.random() < 0.1 else FACTS)


def _reckon(rng: random.Random, a: int, sign: str, b: int, *, in_signs: bool = False) -> tuple[str, int]:
    c = {"+": a + b, "-": a - b, "*": a * b}[sign]
    if in_signs:
        return f"{a} {sign} {b} = {c}", c
    return rng.choice(WORDING[sign]).format(a=a, b=b, c=c), c


def _sum_list(rng: random.Random) -> str:
    separator = rng.choice(("\n", ". ", ", ", "; "))
    in_signs = rng.random() < 0.6
    sums = []
    for _ in range(rng.randint(3, 10)):
        a, sign, b, c = _fact(rng)
        wording = rng.choice(WORDING[sign])
        sums.append(f"{a} {sign} {b} = {c}" if in_signs else wording.format(a=a, b=b, c=c))
    return separator.join(sums) + ("" if separator == "\n" else ".")


def _meaning(rng: random.Random) -> str:
    """What the task's verbs do to a number, outside of any story."""
    verb, sign = rng.choice(MEANINGS)
    a, _, b, _ = rng.choice([fact for fact in FACTS if fact[1] == sign])
    text, c = _reckon(rng, a, sign, b)
    way = "up" if sign == "+" else "down"
    return rng.choice((
        f"Whoever {verb} {b} of {a} {_thing(rng)} goes {way} to {c}." if sign == "-"
        else f"Whoever {verb} {b} on top of {a} {_thing(rng)} goes {way} to {c}.",
        f"{_name(rng)} {verb} {b}: {way} by {b}, from {a} to {c}.",
        f"One {verb} {b}, so the count goes {way}: {text}.",
    ))  # fmt: skip


def _copied_line(rng: random.Random) -> str:
    prompt, copy = write_copy(rng)
    return prompt + copy


def _copied_list(rng: random.Random) -> str:
    line = ", ".join(rng.choice((_thing, _number))(rng) for _ in range(rng.randint(3, 7)))
    return f"List: {line}. Again: {line}."


def _register(rng: random.Random) -> str:
    """Who had what, and again asked for in another order: a name leads back to its number."""
    names = rng.sample(NAMES + MORE_NAMES, rng.randint(2, 4))
    owned = {name: f"{_number(rng)} {_thing(rng)}" for name in names}
    told = rng.choice((" and ", ", ")).join(f"{name} had {what}" for name, what in owned.items())
    rng.shuffle(names)
    return f"{told}. " + " ".join(f"{name}: {owned[name]}." for name in names)


def _sections(rng: random.Random) -> str:
    """Headings with a number that was named before."""
    number, thing = _number(rng), _thing(rng)
    heading = rng.choice(HEADINGS)
    kind = rng.choice(("Number", "Question", "Answer"))
    text = f"{kind} {number} is about {thing}.\n{heading.format(number)}\n{thing.capitalize()} of {_name(rng)}."
    return text + (f" How many {thing}, nobody told." if rng.random() < 0.4 else "")


def _story(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.15:
        return _compared(rng)
    who, other = rng.sample(NAMES + MORE_NAMES, 2)
    words = {"who": who, "other": other, "things": _thing(rng), "place": _place(rng)}
    opening, came, went = rng.choice(TENSES)
    in_signs = rng.random() < 0.4
    sums = []
    if roll < 0.3:
        a, _, b, start = rng.choice(TABLES)
        text = f"{who} had {a} {words['place']}s, and {b} {words['things']} were in every one"
        sums.append(_reckon(rng, a, "*", b, in_signs=in_signs)[0])
    else:
        start = rng.randint(1, 24)
        text = rng.choice(opening).format(a=start, **words)
    total, told = start, []
    for _ in range(rng.choice((1, 1, 2, 2, 2, 3)) - len(sums)):
        sign = "+" if total < 3 or (total < LARGEST and rng.random() < 0.5) else "-"
        change = rng.randint(1, min(14, LARGEST - total if sign == "+" else total - 1))
        told.append(rng.choice(came if sign == "+" else went).format(b=change, **words))
        reckoned, total = _reckon(rng, total, sign, change, in_signs=in_signs)
        sums.append(reckoned)
    text += rng.choice(JOINTS).format(told[0]) + "".join(f"Then {event}. " for event in told[1:]) if told else ". "
    ending = rng.choice((f", so {who} ends with {total}.", f". In all {total}.", ".", "."))
    return text + rng.choice(WORKING) + rng.choice((", and ", ", then ", "; ")).join(sums) + ending


def _compared(rng: random.Random) -> str:
    who, other = rng.sample(NAMES + MORE_NAMES, 2)
    things, a = _thing(rng), rng.randint(2, 15)
    sign = rng.choice("+-")
    b = rng.randint(1, min(12, LARGEST - a if sign == "+" else a - 1))
    text, c = _reckon(rng, a, sign, b)
    word = "more" if sign == "+" else rng.choice(("fewer", "less"))
    told = f"{who} had {a} {things} and {other} had {b} {word}, so {other} had {c}: {text}."
    if a + c <= LARGEST and rng.random() < 0.4:
        both, total = _reckon(rng, a, "+", c)
        told += f" Both together had {total}, since {both}."
    return told
