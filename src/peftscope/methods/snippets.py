"""Code for every method: to train it, save it, load it, merge it and compare it, as one would write it with ``peft``.

Written from the cards and the table of capabilities, without an import of ``peft``; a test runs the code of every card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peftscope.methods.capabilities import MERGE, finding
from peftscope.methods.card import Card
from peftscope.methods.catalog import FIRST_TO_TRY
from peftscope.methods.catalog import snippet_parts as parts
from peftscope.methods.catalog.lora_optim import LORAPLUS_RATIO
from peftscope.methods.catalog.snippet_data import CLASSES, MODULES, NESTED, NOT_SHOWN, needed_of
from peftscope.methods.catalog.snippet_parts import Part

__all__ = ["Snippet", "snippets_of"]

WIDTH = 120
NF4 = "nf4"
DATA_DRIVEN = ("eva", "corda", "lora-ga")
"""Initialisations (``Card.init``) that need a batch before there is a model with the method."""
CONVERTED = ("corda", "lora-ga")
"""Initialisations that change the base by what the data say, which loading cannot repeat."""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A piece of code for a method."""

    key: str
    title: str
    about: str
    """What it does and what it needs; where there is no code, why."""
    code: str


def snippets_of(card: Card) -> list[Snippet]:
    """The code for a method; pieces that say so go on where the training above them ended.

    Args:
        card: The method's.

    Returns:
        ``train``, ``save``, ``merge``, ``quantized`` and ``peftscope``, those that the method is able to.
    """
    if card.refused is not None:
        return [_refused(card)]
    if card.peft_type is None:
        return [*(_whole(card) if card.trains else [_base()]), _compared(card)]
    found = [_train(card), _saved(card)]
    if finding(card.name, MERGE).value == "yes":
        found.append(_merged(card))
    if finding(card.name, NF4).value == "yes":
        found.append(_quantized(card))
    return [*found, _compared(card)]


def _refused(card: Card) -> Snippet:
    assert card.refused is not None
    assert card.peft_type is not None
    name = CLASSES[card.peft_type].name
    about = f"peftscope does not compare it, and there is no code for it here: {card.refused}. In peft: {name}."
    return Snippet(key="train", title="train", about=about, code="")


def _train(card: Card) -> Snippet:
    needs = re.sub(r" \(Built\.\w+\)", "", f" Needs {'; '.join(card.needs)}.") if card.needs else ""
    about = f"A training step on one text, ready to go into a loop.{needs}"
    return Snippet(key="train", title="train", about=about, code=_training(card, parts.LOAD))


def _quantized(card: Card) -> Snippet:
    about = "The same on a base in 4 bits (NF4): a quarter of the memory for the base. Needs bitsandbytes."
    load = parts.LOAD_QUANTIZED
    if card.init:
        load = replace(load, lines=load.lines + parts.PACKED)
    code = _training(card, load)
    return Snippet(key="quantized", title="train on a quantized base", about=about, code=code)


def _training(card: Card, load: Part) -> str:
    """Load, configure, attach, one step."""
    assert card.peft_type is not None
    from_data = card.init in DATA_DRIVEN
    attach = parts.STARTS[card.init] if card.init else parts.ATTACH
    hook = parts.STEP_HOOKS[card.step_hook] if card.step_hook else Part(lines="")
    penalty = parts.PENALTIES[card.penalty] if card.penalty else Part(lines="")
    optimizer = _optimizer(card)
    config, imports = _config(card)
    blocks = [
        parts.TEXT if from_data else "",
        hook.before,
        config,
        f"{attach.lines}{parts.SAVE_START.format(name=card.name) if card.init in CONVERTED else ''}",
        "" if from_data else parts.SHORT_TEXT,
        f"{optimizer.lines}model.print_trainable_parameters()\n",
        _step(penalty.lines, hook.lines),
    ]
    needed = [*imports, *load.imports, *attach.imports, *optimizer.imports]
    needed += ["torch"] if "torch." in "".join((load.lines, *blocks)) else []
    return _script(needed, load.lines, blocks)


def _optimizer(card: Card) -> Part:
    assert card.rate is not None
    found = parts.OPTIMIZERS[card.optimizer]
    lines = found.lines.format(rate=repr(card.rate.default), ratio=f"{LORAPLUS_RATIO:g}")
    return Part(lines=lines, imports=found.imports)


def _step(penalty: str, hook: str) -> str:
    first = "step = 1  # counted from 1\n" if hook else ""
    return (
        f"{first}model.train()\nloss = model(**batch).loss\n{penalty}loss.backward()\noptimizer.step()\n"
        f'{hook}optimizer.zero_grad()\nprint(f"loss {{loss.item():.3f}}")\n'
    )


def _script(imports: Iterable[str], load: str, blocks: Iterable[str]) -> str:
    """Imports, the model's name, and blocks with a line between them."""
    head = f"{_import_lines(imports)}\n\nMODEL = {json.dumps(parts.MODEL)}"
    return "\n\n".join([head, *(block.rstrip("\n") for block in (load, *blocks) if block)]) + "\n"


def _import_lines(names: Iterable[str]) -> str:
    """Import statements, sorted; ``module:name``, or ``module`` alone."""
    whole = {name for name in names if ":" not in name}
    taken: dict[str, set[str]] = {}
    for name in names:
        module, colon, member = name.partition(":")
        if colon:
            taken.setdefault(module, set()).add(member)
    lines = [f"import {name}" for name in sorted(whole)]
    return "\n".join(lines + [f"from {module} import {', '.join(sorted(taken[module]))}" for module in sorted(taken)])


def _config(card: Card) -> tuple[str, list[str]]:
    """The constructor call of a method's config, and what it needs imported."""
    assert card.peft_type is not None
    made = CLASSES[card.peft_type]
    needed = needed_of(card.name, card.peft_type, follows_policy=card.follows_policy)
    imports = [f"peft:{made.name}"]
    values = {"task_type": json.dumps(parts.TASK_TYPE), **needed.fields}
    known = {**card.config, **card.knobs}
    for name in dict.fromkeys((*card.knobs, *card.config)):  # what one may change comes first
        value = known[name]
        default = made.defaults.get(name, ...)
        if name in NOT_SHOWN or (name in card.knobs and name not in NESTED and value == default):
            continue
        if value is None and name in card.config:  # what it is by leaving it out
            continue
        if name in NESTED:
            inner = NESTED[name]
            imports.append(f"{MODULES.get(inner, 'peft')}:{inner}")
            settings = {key: _literal(of) for key, of in value.items()}
            values[name] = _call(inner, {**settings, **needed.nested}, indent=1)
        else:
            values[name] = _literal(value)
    return f"config = {_call(made.name, values)}\n", imports


def _literal(value: Any) -> str:
    """A value as code, strings in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(name: str, values: Mapping[str, str], *, indent: int = 0) -> str:
    """A call, in a line where it fits and is short, else an argument a line."""
    told = [f"{key}={value}" for key, value in values.items()]
    short = f"{name}({', '.join(told)})"
    if indent and len(short) < WIDTH - 30:
        return short
    inside, end = "    " * (indent + 1), "    " * indent
    return "\n".join([f"{name}(", *(f"{inside}{line}," for line in told), f"{end})"])


def _saved(card: Card) -> Snippet:
    saving = parts.SAVE_CONVERTED if card.init in CONVERTED else parts.SAVED
    imports = _import_lines(parts.LOADED.imports)
    code = f"{imports}\n\n{saving}\n{parts.LOADED.lines}".format(name=card.name)
    about = (
        f"Goes on after the training above. The folder {card.name}-adapter holds the config and the trained weights."
    )
    return Snippet(key="save", title="save and load", about=about, code=code)


def _merged(card: Card) -> Snippet:
    about = "Goes on after the training above, and ends it. Merged, the model is as fast as the base."
    return Snippet(key="merge", title="merge", about=about, code=parts.MERGED.format(name=card.name))


def _whole(card: Card) -> list[Snippet]:
    """Full fine-tuning: no adapter, and a whole model to save."""
    optimizer = _optimizer(card)
    blocks = [
        parts.SHORT_TEXT,
        optimizer.lines,
        'print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} trainable parameters")',
        _step("", ""),
    ]
    load = parts.LOAD_WHOLE
    train = _script([*load.imports, *optimizer.imports], load.lines, blocks)
    save = f"{_import_lines(parts.FULL_LOADED.imports)}\n\n{parts.FULL_LOADED.lines}".format(name=card.name)
    return [
        Snippet(key="train", title="train", about=f"A training step. Needs {'; '.join(card.limits)}.", code=train),
        Snippet(key="save", title="save and load", about="Goes on after the training above.", code=save),
    ]


def _base() -> Snippet:
    """The base as it is: something to hold answers against."""
    load = parts.LOAD_BASE
    code = _script(load.imports, load.lines, [parts.BASE_USED])
    return Snippet(key="use", title="use", about="Nothing is trained: what the base answers as it is.", code=code)


def _compared(card: Card) -> Snippet:
    first, second = FIRST_TO_TRY[:2]
    names = [first, second if card.name == first or not card.trains else card.name]
    values = {"model": parts.MODEL, "study": "-and-".join(names), "methods": json.dumps(names)}
    base = "" if card.trains else " The base is in every study, as the zero line."
    about = f"Compares it with {first} under equal conditions, on word problems; name your own data instead.{base}"
    if not card.trains:
        about = f"Compares two methods with it, on word problems; name your own data instead.{base}"
    return Snippet(key="peftscope", title="compare", about=about, code=parts.COMPARED.format(**values))
