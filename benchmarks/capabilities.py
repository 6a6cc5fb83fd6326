"""What every method can do, by doing it: makes the table that ships, and the page that shows it.

    python benchmarks/capabilities.py                  probes all: three quarters of an hour on two cores
    python benchmarks/capabilities.py --only lora oft  these methods anew, the others as they are
    python benchmarks/capabilities.py --capability merge    this one anew, of all methods
    python benchmarks/capabilities.py --again          probes once more and lists what differs from the table

Writes ``src/peftscope/methods/capabilities.json`` and ``capabilities.md`` beside this file. What is probed, and when
the answer is yes, stands in ``peftscope.methods.capabilities``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from peftscope.methods.capabilities import CAPABILITIES, GROUPS, TABLE_FILE, Table
from peftscope.methods.catalog import card, cards

HERE = Path(__file__).resolve().parent
MARKS = {"yes": "●", "no": "·", "unknown": "?"}


def probed(name: str, only: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """One method, on one thread; some capabilities or all."""
    import torch

    from peftscope.probe.probing import probe_method

    torch.set_num_threads(1)
    wanted = [of for of in CAPABILITIES if only is None or of.name in only]
    return name, {capability: found.document() for capability, found in probe_method(card(name), wanted).items()}


def probe_all(names: Iterable[str], only: Sequence[str] | None, processes: int) -> dict[str, dict[str, Any]]:
    """Methods, several at once."""
    found: dict[str, dict[str, Any]] = {}
    with get_context("spawn").Pool(processes, maxtasksperchild=8) as pool:
        for name, row in pool.imap_unordered(partial(probed, only=only), names):
            found[name] = row
            print(f"{len(found):3} {name}", flush=True)
    return found


def differences(ours: Table, found: dict[str, dict[str, Any]]) -> list[str]:
    """Where a probing says something else than the table, times and rounding aside."""
    lines = []
    for method, row in found.items():
        for name, of in row.items():
            known = ours.findings.get(method, {}).get(name)
            before = (known.value, known.reason) if known else ("not probed", "")
            after = (of["value"], of["reason"] or "")
            if before != after:
                lines.append(f"{method} {name}: {before[0]} ({before[1]}) -> {after[0]} ({after[1]})")
    return lines


def declared(name: str) -> tuple[str, dict[str, str]]:
    """What the installed ``peft`` says of itself of a method, where it says anything: capability -> how it says yes."""
    import tempfile

    from peft import PeftType
    from peft.utils.hotswap import CONFIG_KEYS_TO_CHECK

    from peftscope.capture import capture
    from peftscope.models.miniatures import text
    from peftscope.probe.specimen import Specimen, hushed

    said: dict[str, str] = {}

    def look() -> None:
        with tempfile.TemporaryDirectory() as place:
            model: Any = Specimen(text.causal(), card(name), Path(place)).build().model
        if not hasattr(model, "peft_config"):
            return
        if model.supports_lora_conversion():
            said["peft-convert"] = "`supports_lora_conversion()` is true"
        if PeftType(card(name).peft_type) in CONFIG_KEYS_TO_CHECK:
            said["hotswap"] = "its type stands in `hotswap.CONFIG_KEYS_TO_CHECK`"
        if hasattr(model, "add_weighted_adapter"):
            said["weighted"] = "it has `add_weighted_adapter`"
        if "adapter_names" in model.special_peft_forward_args:
            said["mixed-batches"] = "its forward pass takes `adapter_names`"
        if hasattr(model, "unmerge_adapter"):
            said["unmerge"] = "it has `unmerge_adapter`"
        if hasattr(model, "merge_and_unload"):
            said["merge"] = "it has `merge_and_unload`"
        if hasattr(model, "disable_adapter"):
            said["disable"] = "it has `disable_adapter`"

    with hushed():
        capture(look)
    return name, said


def disagreements(table: Table) -> list[str]:
    """Where ``peft`` says yes and trying says no, one line for each capability and reason."""
    lines: list[str] = []
    found: dict[tuple[str, str, str], list[str]] = {}
    for method in table.findings:
        for capability, how in declared(method)[1].items():
            of = table.findings[method][capability]
            if of.value == "no":
                kind = re.sub(r"by [\d.e+-]+ of", "by a share of", of.reason)
                found.setdefault((capability, how, kind), []).append(method)
    titles = {of.name: of.title for of in CAPABILITIES}
    for (capability, how, reason), methods in found.items():
        shown = f"`peftscope probe {methods[0]} --model builtin:nano-lm --capability {capability}`"
        lines.append(f"- **{titles[capability]}**: {how}; {', '.join(methods)}: {_plain(reason)} ({shown})")
    return lines


def page(table: Table) -> str:
    """The table as Markdown: one part for each group, and every reason."""
    held = ", ".join(f"{name} {number}" for name, number in table.versions.items())
    lines = [
        "# What every method can do",
        "",
        f"Written by `benchmarks/capabilities.py` on {table.made}, with {held}. ● yes, · no, ? not known.",
    ]
    for group, title in GROUPS.items():
        group_of = [of for of in CAPABILITIES if of.group == group]
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        lines += [f"- {of.title}: {of.about}." for of in group_of]
        lines += ["", f"| method | {' | '.join(of.title for of in group_of)} |", f"|{' --- |' * (len(group_of) + 1)}"]
        for method, row in table.findings.items():
            cells = [_cell(row[of.name].value, dict(row[of.name].figures), group) for of in group_of]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += ["", "## Where peft says yes, and trying says no", ""]
    lines += ["Each with a command that shows it.", "", *disagreements(table), "", "## Reasons", ""]
    for of in CAPABILITIES:
        reasons: dict[str, list[str]] = {}
        for method, row in table.findings.items():
            if row[of.name].value != "yes":
                reasons.setdefault(row[of.name].reason, []).append(method)
        lines += [f"**{of.title}**", ""]
        lines += [f"- {', '.join(methods)}: {_plain(reason)}" for reason, methods in reasons.items()]
        lines += [""]
    return "\n".join(lines)


def _cell(value: str, figures: dict[str, float], group: str) -> str:
    return f"{figures['ratio']:.2g} ×" if group == "costs" and "ratio" in figures else MARKS[value]


def _plain(reason: str) -> str:
    return reason.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    """Probe, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None, metavar="METHOD")
    parser.add_argument("--capability", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true", help="write the page anew from the table that is there")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=TABLE_FILE)
    asked = parser.parse_args()
    every = [name for name, entry in cards().items() if entry.trains or entry.refused is not None]
    ours = Table.from_document(json.loads(asked.output.read_text("utf-8"))) if asked.output.exists() else None
    if not asked.page:
        found = probe_all(asked.only or every, asked.capability, asked.processes)
        if asked.again:
            assert ours is not None, f"{asked.output}: there is no table to compare with"
            lines = differences(ours, found)
            print(*(lines or ["no difference"]), sep="\n")
            raise SystemExit(1 if lines else 0)
        from peftscope.study.probing import versions

        rows = {} if ours is None or not (asked.only or asked.capability) else ours.document()["capabilities"]
        for name, row in found.items():
            rows[name] = {**rows.get(name, {}), **row}
        document = {
            "made": datetime.now(UTC).date().isoformat(),
            "versions": versions(),
            "capabilities": {name: rows[name] for name in every if name in rows},
        }
        asked.output.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        ours = Table.from_document(document)
    assert ours is not None
    if asked.output == TABLE_FILE:
        (HERE / "capabilities.md").write_text(page(ours), encoding="utf-8")


if __name__ == "__main__":
    main()
