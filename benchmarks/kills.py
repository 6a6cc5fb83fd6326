"""A hundred kills, at moments a seed decides, of a tuned study: its records are those of one that nothing disturbed.

    make kill-test                            # about a quarter of an hour; the table goes to benchmarks/kills.md
    python benchmarks/kills.py --kills 10     # a part of it

Killed are, in turn, runs, the process that was started, and both, with SIGKILL and no warning. The study is called
again until it is done; with kills left it is begun anew. Compared is everything that repeats: every metric but times
and sampled memory, every loss, every example's score.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from small_study import small_study

from peftscope.execution.repeat import repeatable
from peftscope.schema.record import RunRecord
from peftscope.store.files import read_records, write_text
from peftscope.store.run_states import read_states

__all__ = ["Compare", "Kills", "repeating"]

KINDS = ("child", "parent", "parent and child")
LONGEST_PAUSE = 10
"""Events between two kills, at most."""
MOST_CALLS = 300
TABLE = Path(__file__).with_suffix(".md")


class Compare:
    """A ``peftscope compare`` in a process of its own, read event by event."""

    def __init__(self, study: Path, folder: Path, mark: str, prefix: Sequence[str] = ()) -> None:
        words = [
            *prefix,
            sys.executable,
            "-m",
            "peftscope",
            "compare",
            str(study),
            "--out",
            str(folder),
            "--json-lines",
        ]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "STUDY_MARK": mark}
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """What it tells, as it comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def finish(self) -> tuple[int, str]:
        """Exit code and what was said on stderr."""
        _, errors = self.process.communicate(timeout=300)
        return self.process.returncode, errors


class Kills:
    """Kills to be made, at moments and of processes that a seed decides.

    Args:
        count: Their number.
        seed: Decides when.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.left, self._chance = [KINDS[i % 3] for i in range(count)], random.Random(seed)
        self._chance.shuffle(self.left)
        self.made: Counter[str] = Counter()
        self.num_calls = 0

    def records_of(self, study: Path, folder: Path, mark: str = "kills") -> list[RunRecord]:
        """The records of a study that is killed on its way, and called again until it is done.

        Raises:
            AssertionError: A call ended with a traceback, or the study did not come to its end.
        """
        for _ in range(MOST_CALLS):
            self.num_calls += 1
            compare = Compare(study, folder, mark)
            countdown, was_struck = self._pause(), False
            for event in compare.events():
                if self.left and event["event"] in ("stage", "step", "started", "ended"):
                    countdown -= 1
                    if countdown == 0:
                        was_struck = True
                        self._strike(compare, folder)
                        countdown = self._pause()
            code, errors = compare.finish()
            assert "Traceback" not in errors, errors
            if code == 0 and not was_struck:
                return read_records(folder)
        raise AssertionError(f"not done after {MOST_CALLS} calls")

    def _pause(self) -> int:
        return self._chance.randint(1, LONGEST_PAUSE)

    def _strike(self, compare: Compare, folder: Path) -> None:
        """Kill what is to be killed next; nothing where a run is to be, and none is under way."""
        kind, has_struck = self.left[-1], False
        runs = [state.pid for state in read_states(folder) if state.pid is not None]
        for pid in (*(runs if kind != "parent" else ()), *((compare.process.pid,) if kind != "child" else ())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                has_struck = True
        if has_struck:
            self.made[self.left.pop()] += 1


def repeating(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What repeats of records, by run, with how each ended."""
    return {record.run_id: (record.status, repeatable(record)) for record in records}


def _study(folder: Path) -> Path:
    return small_study(
        folder, num_rows=60, task={"valid_size": 8, "test_size": 12}, name="killed",
        methods=["lora", "ia3", "adalora", "oft"], seeds=[0, 1], tuning={"effort": "quick", "rungs": [0.5]},
        measure={"latency": False, "metered_steps": 0},
    )  # fmt: skip


def main() -> None:
    """Kill, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--output", type=Path, default=TABLE)
    chosen = parser.parse_args()
    began = time.monotonic()
    rows: list[tuple[int, int, int, int, bool]] = []
    with tempfile.TemporaryDirectory() as place:
        study = _study(Path(place))
        code, errors = Compare(study, Path(place) / "undisturbed", "none").finish()
        assert code == 0, errors
        expected = repeating(read_records(Path(place) / "undisturbed"))
        kills = Kills(chosen.kills)
        while kills.left:
            before, calls = kills.made.total(), kills.num_calls
            records = kills.records_of(study, Path(place) / f"study-{len(rows)}")
            lost = sum(attempt.status == "killed" for record in records for attempt in record.attempts)
            same = repeating(records) == expected
            rows.append((kills.made.total() - before, kills.num_calls - calls, lost, len(records), same))
            print(f"study {len(rows)}: {rows[-1]}", flush=True)
    of_what = ", ".join(f"{count} of {kind}" for kind, count in sorted(kills.made.items()))
    lines = [
        "# Kills",
        "",
        f"{kills.made.total()} kills ({of_what}), seed 0, of a tuned study of {len(expected)} runs; "
        f"{time.monotonic() - began:.0f} s. Made by `make kill-test`.",
        "",
        "| study | kills | calls | starts lost | records | same as undisturbed |",
        "| ---: | ---: | ---: | ---: | ---: | --- |",
        *(f"| {n} | {' | '.join(map(str, row[:4]))} | {'yes' if row[4] else 'NO'} |" for n, row in enumerate(rows, 1)),
    ]
    write_text(chosen.output, "\n".join(lines) + "\n")
    sys.exit(0 if all(row[4] for row in rows) else 1)


if __name__ == "__main__":
    main()
