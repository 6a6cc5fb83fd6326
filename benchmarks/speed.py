"""peftscope against the same experiments written by hand; writes ``speed.md`` and ``speed/PART.json`` beside this file.

    python benchmarks/speed.py                          every part, about an hour on two idle cores
    python benchmarks/speed.py --repetitions 1          the same without ranges, about half an hour
    python benchmarks/speed.py --parts scoring,memory   some of them
    python benchmarks/speed.py --quick                  tiny sizes, to see that it works; writes to a temp folder
    python benchmarks/speed.py --render                 the page again from the figures there are

``plain_loop.py`` is the other side. Both sides run in turns, each in processes of its own, with the same number of
threads. A part that has had its time begins no further repetition; one that fails costs its own figures alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from speed_parts import memory, overhead, scoring, study, training, workers  # noqa: E402
from speed_parts.bench import GSM8K, Bench, NoData, sizes_of  # noqa: E402
from speed_parts.compared import Goal  # noqa: E402

PARTS: dict[str, ModuleType] = {
    "scoring": scoring,
    "training": training,
    "memory": memory,
    "overhead": overhead,
    "study": study,
    "workers": workers,
}
SECONDS = {"scoring": 1400, "training": 1100, "memory": 180, "overhead": 300, "study": 900, "workers": 180}
"""After which a part begins no further measurement."""
MARKS: dict[str, tuple[float | None, float | None]] = {
    "training, fast against the plain loop": (1.5, None),
    "scoring with the stop rule, against plain without it": (5.0, None),
}
"""Least and most by a goal's name, where a mark is another than its part's or its part has none."""
FLOOR = (
    "a token read or written is 0.27 GFLOP, and of our time two thirds are such products at the 200 GFLOP/s this "
    "machine has; the plain loop is fastest where no adapter slows it"
)
FIXED = (
    "10,000 tokens of general text, a step at the longest batch (memory), validation and latency take as long after "
    "100 steps as after 1,000"
)
REASONS: dict[str, str] = {
    **{f"scoring, {name}": FLOOR for name in ("lora", "oft", "ia3", "full")},
    "scoring, prompt-tuning": "the plain loop's batches change what prompt tuning answers: times of different answers",
    "scoring with the stop rule, against plain without it": "the trained model ends its answers by itself: little is "
    "left to stop",
    "training, lean against fast": "norms, activations, positions and OFT's small rotations are computed twice, and "
    "every operation of a block passes Python",
    "neither training nor scoring, nano-lm": FIXED,
    "neither training nor scoring, smollm2-135m": FIXED,
    "a study on nano-lm": "final runs and two trials of three are trained in full on either side, and training is "
    "1.6 times as fast; what is saved is starts, scoring and the trials that stop",
    "a study on the larger model, extrapolated": "runs of 20 steps: forgetting, memory and latency, which the plain "
    "loop does not measure, take as long as the training",
}
"""Why a mark is missed, by the goal's name; filled in by hand."""


def measured(name: str, bench: Bench) -> dict[str, Any]:
    """One part's document; a failure is told in it."""
    started = time.monotonic()
    found, failure = None, None
    try:
        found = PARTS[name].measure(bench)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        failure = f"{type(error).__name__}: {error}"
    return {
        "part": name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine(bench.threads),
        "model": bench.sizes.model,
        "found": found,
        "failure": failure,
        "problems": bench.problems,
    }


def machine(threads: int) -> dict[str, Any]:
    """What the figures hold for; nothing that names the machine."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"cores": os.cpu_count(), "threads": threads, **packages}


def page(documents: dict[str, dict[str, Any]]) -> str:
    """The page of what was measured so far."""
    told = next(iter(documents.values()))["machine"] if documents else machine(0)
    same = all(document["machine"] == told for document in documents.values())
    head = (
        f"{told['cores']} cores, {told['threads']} threads on either side, torch {told['torch']}, transformers "
        f"{told['transformers']}, peft {told['peft']}. Written by `python benchmarks/speed.py`; the other side is "
        "`benchmarks/plain_loop.py`: one process per experiment, `get_peft_model`, shuffled padded batches, the "
        "model's own loss, `model.generate` on fixed batches. Ratios are medians (range over repetitions)."
    )
    lines = ["# Speed", "", head, ""]
    if not same:
        lines += ["Parts were measured under different conditions; see their files.", ""]
    lines += ["| mark | wanted | reached | | reason |", "| --- | ---: | ---: | --- | --- |"]
    for name, document in documents.items():
        if document["found"] is not None:
            lines += [_mark(marked(goal)) for goal in PARTS[name].goals(document["found"])]
    for name, document in documents.items():
        seconds = f"{document['seconds']:.0f} s"
        lines += ["", f"## {PARTS[name].TITLE}", "", f"{document['model']}, {document['date']}, {seconds}.", ""]
        lines += PARTS[name].lines(document["found"]) if document["found"] is not None else []
        notes = [document["failure"]] if document["failure"] else []
        if notes or document["problems"]:
            lines += ["", *(f"- {note}" for note in (*notes, *document["problems"]))]
    return "\n".join(lines) + "\n"


def marked(goal: Goal) -> Goal:
    """A goal with the mark this script sets for it."""
    if goal.name not in MARKS:
        return goal
    least, most = MARKS[goal.name]
    return Goal(name=goal.name, value=goal.value, text=goal.text, least=least, most=most)


def _mark(goal: Goal) -> str:
    wanted = [f"≥ {goal.least:g}"] if goal.least is not None else []
    wanted += [f"≤ {goal.most:g}"] if goal.most is not None else []
    verdict = {None: "–", True: "met", False: "**missed**"}[goal.met]
    reason = "" if goal.met else REASONS.get(goal.name, "")
    return f"| {goal.name} | {' and '.join(wanted) or '–'} | {goal.text} | {verdict} | {reason} |"


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured so far, in the order of the parts."""
    files = {name: folder / f"{name}.json" for name in PARTS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.is_file()}


def write(output: Path) -> str:
    """Write the page of the figures under a folder."""
    text = page(read(output / "speed"))
    (output / "speed.md").write_text(text, encoding="utf-8")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for; 1 where a part failed."""
    given = _parser().parse_args(arguments)
    temporary = Path(tempfile.gettempdir()) / "peftscope-speed"
    output = given.output or (temporary / "quick" if given.quick else HERE)
    if given.render:
        print(write(output))
        return 0
    try:
        sizes = sizes_of(given.data, quick=given.quick)
    except NoData as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 2
    failed = False
    for name in given.parts:
        bench = Bench(
            sizes=sizes,
            folder=temporary / "work",
            threads=given.threads,
            repetitions=given.repetitions,
            seconds=given.seconds or SECONDS[name],
        )
        document = measured(name, bench)
        (output / "speed").mkdir(parents=True, exist_ok=True)
        (output / "speed" / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        failed |= document["failure"] is not None
        print(f"{name}: {document['seconds']:.0f} s {document['failure'] or 'ok'}", file=sys.stderr)
        write(output)
    print(write(output))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_names, default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes on the smallest model")
    parser.add_argument("--render", action="store_true", help="write the page from the figures there are")
    parser.add_argument("--threads", type=int, default=2, help="of either side")
    parser.add_argument("--repetitions", type=int, default=2, help="of every measurement, while time is left")
    parser.add_argument("--seconds", type=float, help="after which a part begins nothing further")
    parser.add_argument("--data", type=Path, default=GSM8K, help="folder with gsm8k_train.jsonl and gsm8k_test.jsonl")
    parser.add_argument("--output", type=Path, help="folder for speed.md and speed/; this file's by default")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    raise SystemExit(main())
