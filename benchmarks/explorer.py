"""How fast the page is, with a folder of thousands of records; writes explorer.md beside this file.

    python benchmarks/explorer.py [--records 5000] [--demo results/demo]
    python benchmarks/explorer.py --published        only what is published, into explorer_published.md

The records are made up: forty methods, each with several learning rates and seeds, twenty-five figures and the scores
of a hundred examples each. A fresh server and a fresh browser window open the folder; the clock runs from the request
for the page to the first figure on screen, and in a redraw from the change to the next frame that is painted. For
published results the clock starts with the command itself.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from browser import Watched, launched
from playwright.sync_api import Browser, Page

from peftscope.measures.registry import metric_specs
from peftscope.methods.catalog import cards
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import Attempt, ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.store.files import write_record
from peftscope.study.space import export_space
from peftscope.study.study import Study
from peftscope.views.report.page import bundle

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
METHODS, RATES, EXAMPLES, OPENINGS = 40, (1e-4, 3e-4, 1e-3), 100, 3
SCORE = MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems of the split")
PORT = 8911
LIMITS = {"first figure": 3.0, "redraw": 0.3, "published": 2.0, "megabytes": 10.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--demo", type=Path, default=ROOT / "results" / "demo")
    parser.add_argument("--published", action="store_true")
    given = parser.parse_args()
    if given.published:
        write_published()
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "many"
        write_records(folder, given.records)
        size = sum(path.stat().st_size for path in (folder / "records").iterdir())
        openings, redraws, verdict = measured(folder)
        lines = [
            f"Written by `python benchmarks/explorer.py`: {os.cpu_count()} cores ({machine()}), Python "
            f"{platform.python_version()}; {given.records:,} records of {METHODS} methods, {size / 1e6:.0f} MB.",
            "",
            "| what | seconds | limit |",
            "| --- | ---: | ---: |",
            row("folder opened: request to first figure", statistics.median(openings), LIMITS["first figure"]),
            *(row(f"redrawn: {name}", seconds, LIMITS["redraw"]) for name, seconds in redraws.items()),
            row("then judged: methods with their intervals on screen after", verdict, None),
            "",
            "| file | MB | limit |",
            "| --- | ---: | ---: |",
            row("script and style of the page", (len(bundle("page.js")) + len(bundle("page.css"))) / 1e6, 1.0),
        ]
        if given.demo.is_dir():
            page = Study.find(given.demo).report(Path(place) / "report").page
            lines.append(row("report of the demo", page.stat().st_size / 1e6, 1.5))
    (HERE / "explorer.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def write_published() -> None:
    """How fast published results are on screen, and how large they are as files."""
    with launched() as browser:
        opened = [published_opening(browser) for _ in range(OPENINGS)]
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        export_space(Path(place) / "space")
        seconds = time.perf_counter() - start
        files = [path for path in (Path(place) / "space").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    lines = [
        f"Written by `python benchmarks/explorer.py --published`: {os.cpu_count()} cores ({machine()}), Python "
        f"{platform.python_version()}; medians of {OPENINGS}.",
        "",
        "| `explore --published` | seconds | limit |",
        "| --- | ---: | ---: |",
        *(
            row(name, statistics.median(each[name] for each in opened), LIMITS["published"] if limited else None)
            for name, limited in (
                ("command to address", False),
                ("request to first figure", True),
                ("command to first figure", True),
                ("command to methods judged and drawn", False),
            )
        ),
        row("`--export-space`", seconds, None),
        "",
        "| the folder of `--export-space` | MB | limit |",
        "| --- | ---: | ---: |",
        row(f"{len(files)} files", size / 1e6, LIMITS["megabytes"]),
    ]
    (HERE / "explorer_published.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def published_opening(browser: Browser) -> dict[str, float]:
    """Seconds of one opening, by what is awaited."""
    start = time.perf_counter()
    with explored("--published") as address:
        told = time.perf_counter()
        watched = Watched(browser, home=address)
        watched.page.goto(address)
        watched.page.locator(".scatter svg").wait_for(timeout=60_000)
        drawn = time.perf_counter()
        watched.page.locator("#explore-table caption", has_text="Methods").wait_for(timeout=60_000)
        judged = time.perf_counter()
        watched.close()
    return {
        "command to address": told - start,
        "request to first figure": drawn - told,
        "command to first figure": drawn - start,
        "command to methods judged and drawn": judged - start,
    }


def row(name: str, value: float, limit: float | None) -> str:
    """A line of a table; what is over its limit says so."""
    told = "" if limit is None else f"{limit:g}" + (" **over**" if value > limit else "")
    return f"| {name} | {value:.2f} | {told} |"


def machine() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write_records(folder: Path, count: int) -> None:
    """A study's folder as a long search leaves it."""
    random = np.random.default_rng(0)
    names = [name for name, card in cards().items() if card.refused is None and card.rate is not None][:METHODS]
    figures = [spec for spec in metric_specs().values() if spec.unit in ("s", "bytes", "share", "count")][:25]
    protocol = Protocol(quality={"weights": "w"}, cost={"cpu": "c"})
    environment = {"peftscope": "0.1.0", "packages": {"torch": "2.13.0", "peft": "0.21.2"}, "num_threads": 2}
    attempt = Attempt(
        started_at="2026-01-01T00:00:00+00:00",
        ended_at="2026-01-01T00:01:00+00:00",
        status="ok",
        environment=environment,
    )
    for number in range(count):
        place, seed = number % (METHODS * len(RATES)), number // (METHODS * len(RATES))
        spec = RunSpec(
            model="builtin:nano-lm", task="math", method=MethodSpec(name=names[place % METHODS]),
            learning_rate=RATES[place // METHODS], seed=seed,
        )  # fmt: skip
        right = random.random(EXAMPLES) < 0.3 + 0.4 * (place % METHODS) / METHODS
        metrics: dict[str, Any] = {spec.name: float(random.uniform(1, 2)) for spec in figures}
        metrics["test_score"] = float(right.mean())
        examples = tuple(ExampleOutcome(example_id=f"e{i}", score=float(hit)) for i, hit in enumerate(right))
        write_record(
            folder,
            RunRecord(
                run_id=spec.run_id, spec=spec, status="ok", attempts=(attempt,), metric=SCORE, metrics=metrics,
                examples=examples, protocol=protocol, quality_protocol=protocol.quality_hash,
                cost_protocol=protocol.cost_hash,
            ),
        )  # fmt: skip


@contextmanager
def explored(what: str) -> Iterator[str]:
    """A fresh server for a folder, or for what an option says."""
    command = [sys.executable, "-m", "peftscope", "explore", what, "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
    yield address
    server.terminate()
    server.wait()


def measured(folder: Path) -> tuple[list[float], dict[str, float], float]:
    """Seconds of every opening, of every kind of redraw, and until the verdict is there."""
    openings: list[float] = []
    redraws: dict[str, float] = {}
    verdict = 0.0
    with launched() as browser:
        for opening in range(OPENINGS):
            with explored(str(folder)) as address:
                watched = Watched(browser, home=address)
                start = time.perf_counter()
                watched.page.goto(f"{address}#/explore")
                watched.page.locator(".scatter svg").wait_for(timeout=120_000)
                openings.append(time.perf_counter() - start)
                if opening == OPENINGS - 1:
                    watched.page.locator("option[value=methods]:not([disabled])").wait_for(
                        state="attached", timeout=600_000
                    )
                    verdict = time.perf_counter() - start
                    watched.page.goto(f"{address}#/explore?show=runs")
                    redraws = redrawn(watched.page)
                watched.close()
    return openings, redraws, verdict


CHANGE = """([label, value]) => new Promise((done) => {
    const found = [...document.querySelectorAll("label")].find((each) => each.textContent.trim().startsWith(label));
    const field = found.querySelector("select");
    const start = performance.now();
    field.value = value ?? [...field.options].at(-1).value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1000)));
})"""


def redrawn(page: Page) -> dict[str, float]:
    """Median of five changes of each kind."""

    def median(change: Callable[[], float]) -> float:
        return statistics.median(change() for _ in range(5))

    def of(label: str, *values: str | None) -> Callable[[], float]:
        given = [values[i % len(values)] for i in range(5)]
        return lambda: float(page.evaluate(CHANGE, [label, given.pop()]))

    page.locator("#explore-table").wait_for()
    page.wait_for_timeout(1000)
    return {
        "another metric across": median(of("across", "total_time_s", "checkpoint_bytes")),
        "another metric up": median(of("up", "test_score", "eval_time_s")),
        "one method of all, and all again": median(of("method", None, "")),
        "groups by method, and single runs": median(of("points are", "groups", "runs")),
    }


if __name__ == "__main__":
    main()
