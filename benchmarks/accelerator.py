"""What peftscope does on this machine's accelerator; writes ``accelerator.md`` and ``accelerator/NAME.json``.

    python benchmarks/accelerator.py                    the accelerator, at most 8 minutes
    python benchmarks/accelerator.py --device cpu       the same parts on a CPU, small, to see that they work
    python benchmarks/accelerator.py --small            as small on an accelerator
    python benchmarks/accelerator.py --output DIR       writes there, and leaves the committed page alone
    python benchmarks/accelerator.py --parts cpu,demo   some of the parts

Every part has a time limit, and its failure costs the part alone; the page is written after every one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
BUDGET_S = 470.0
SHORTEST_S = 5.0
"""A part that has less than that left is not begun."""


class OutOfTime(BaseException):
    """A part has had its time; not an ``Exception``, so that nothing on the way takes it for a failure of a run."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTime`` in what runs inside after so many seconds."""

    def end(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Writer:
    """Writes what was found so far, figures and page."""

    def __init__(self, output: Path, desk: Any, titles: dict[str, str]) -> None:
        self.output, self.desk, self.titles = output, desk, titles
        self.parts: dict[str, Any] = {}
        self.started = time.monotonic()

    def write(self) -> Path:
        """The device's figures, and the page of all devices; gives the figures' path."""
        from accelerator_parts.page import page

        environment = self.desk.environment
        name = environment.get("accelerator") or ("CPU" if self.desk.device == "cpu" else self.desk.device)
        folder = self.output / "accelerator"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".json")
        packages = {k: v for k, v in environment.get("packages", {}).items() if v}
        document = {
            "device": name,
            "kind": self.desk.device,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "seconds": time.monotonic() - self.started,
            "packages": {"python": environment.get("python"), **packages},
            "parts": {**self._earlier(path), **self.parts},
        }
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        places = {each.name: each for each in (*(HERE / "accelerator").glob("*.json"), *folder.glob("*.json"))}
        documents = [json.loads(places[each].read_text(encoding="utf-8")) for each in sorted(places)]
        (self.output / "accelerator.md").write_text(page(documents, self.titles), encoding="utf-8")
        return path

    def _earlier(self, path: Path) -> dict[str, Any]:
        """Parts that an earlier check did and this one leaves out."""
        if not path.is_file():
            return {}
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        return {name: part for name, part in parts.items() if name in self.titles}


def check(given: argparse.Namespace, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Do the parts, each in its time; gives what was found of each."""
    from accelerator_parts.desk import Desk, Notes
    from accelerator_parts.parts import PARTS
    from accelerator_parts.sizes import CARD, CPU

    from peftscope.capture import Failure, capture
    from peftscope.execution.executors.forking import warm_up
    from peftscope.models.device import choose_device

    device = choose_device(given.device).type
    desk = Desk(folder=folder, device=device, sizes=CPU if given.small or device == "cpu" else CARD, parts=names)
    writer = Writer(given.output, desk, {name: title for name, (title, _) in PARTS.items()})
    warm_up()
    for name in names:
        notes, begun = Notes(), time.monotonic()
        left = min(desk.sizes.limits_s[name], given.seconds - (begun - writer.started))
        failure: Failure | None = None
        ended = False
        if left >= SHORTEST_S:
            try:
                with time_limit(left):
                    failure = capture(partial(PARTS[name][1], desk, notes))
            except OutOfTime:
                ended = True
                for child in multiprocessing.active_children():
                    child.kill()
        said = f"{failure.reason} | {failure.traceback[-1500:]}" if failure else None
        if left < SHORTEST_S or ended:
            said = f"no time: {max(left, 0):.0f} s were left for it"
        seconds = time.monotonic() - begun
        writer.parts[name] = {"seconds": seconds, "failure": said, "problems": notes.problems, "rows": notes.rows}
        path = writer.write()
        print(f"{seconds:6.1f} s  {name}: {said or notes.problems or 'ok'}", flush=True)
    desk.close()
    print(path)
    return writer.parts


def main() -> None:
    """Do what was asked; exit code 1 where a part failed or found a problem."""
    from accelerator_parts.parts import PARTS

    from peftscope.capture import capture

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto", help="as in a study; the accelerator by default")
    parser.add_argument("--small", action="store_true", help="a CPU's sizes, also on an accelerator")
    parser.add_argument("--output", type=Path, default=HERE, help="where to write; this folder by default")
    parser.add_argument("--parts", default=",".join(PARTS), help="names, in their order; 'model' is done first")
    parser.add_argument("--seconds", type=float, default=BUDGET_S, help=f"for all of it, {BUDGET_S:.0f} by default")
    given = parser.parse_args()
    names = list(dict.fromkeys(["model", *given.parts.split(",")]))
    unknown = set(names) - set(PARTS)
    if unknown:
        parser.error(f"--parts: no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    with tempfile.TemporaryDirectory(prefix="accelerator-") as place:
        found: dict[str, Any] = {}
        failure = capture(lambda: found.update(check(given, names, Path(place))))
        if failure is not None:
            sys.exit(failure.traceback)
    sys.exit(any(part["failure"] or part["problems"] for part in found.values()))


if __name__ == "__main__":
    main()
