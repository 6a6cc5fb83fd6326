"""The public benchmark's own results, which come with peftscope: whole releases, as they were on a day.

The table keeps the benchmark's documents in its own layout, without what nothing here reads. It also says which method
each document is of, so that reading needs no ``peft``. ``scripts/published_results.py`` makes it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Literal

from peftscope.schema.record import RunRecord
from peftscope.upstream.metrics import read_metrics
from peftscope.upstream.results_in import Names, benchmark_of, read_document
from peftscope.upstream.training_params import Benchmark

__all__ = ["TABLE_FILE", "Published", "Release", "Result", "Source", "published", "records_of", "table_hash"]

TABLE_FILE = Path(__file__).with_name("published.json.gz")

Modality = Literal["text", "images"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whose results these are."""

    name: str
    license: str
    address: str
    """Where they lie, in words."""
    lines: tuple[str, ...]
    """What is in the table, and what was left out."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result document of the benchmark."""

    method: str
    """Name of the method's card."""
    document: Mapping[str, Any]

    @property
    def experiment(self) -> str:
        """Method's folder and own folder, as the benchmark names it."""
        return str(self.document["run_info"]["experiment_name"])

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Its figures by the names that records have for them."""
        config = self.document["run_info"]["train_config"]
        return read_metrics(self.document, benchmark_of(self.document), config).metrics


@dataclass(frozen=True, kw_only=True)
class Release:
    """The results of one task as they were published on a day."""

    task: Modality
    date: str
    """As ``2026-06-18``."""
    task_title: str
    released: str
    """The date in words."""
    about: str
    """What the task is."""
    lines: tuple[str, ...]
    """What is to be known of these runs."""
    results: tuple[Result, ...]

    @property
    def key(self) -> str:
        """Task and date: ``text-2026-06-18``."""
        return f"{self.task}-{self.date}"

    @property
    def benchmark(self) -> Benchmark:
        """Which of the two benchmarks it is of."""
        return benchmark_of(self.results[0].document)


@dataclass(frozen=True, kw_only=True)
class Published:
    """All there is in the table."""

    source: Source
    releases: Mapping[str, Release]
    """By key, in the table's order: the oldest of a task first."""

    def of_task(self, task: str) -> list[Release]:
        """Releases of one task, the oldest first."""
        return [release for release in self.releases.values() if release.task == task]


@cache
def published() -> Published:
    """The table, read once.

    >>> [len(release.results) for release in published().releases.values()]
    [52, 53, 25, 24]
    """
    table = json.loads(gzip.decompress(TABLE_FILE.read_bytes()))
    results = {name: Result(**result) for name, result in table["results"].items()}
    releases = [
        Release(
            **{**release, "lines": tuple(release["lines"]), "results": tuple(results[name] for name in names)},
        )
        for release in table["releases"]
        for names in [release["results"]]
    ]
    source = table["source"]
    return Published(
        source=Source(**{**source, "lines": tuple(source["lines"])}),
        releases={release.key: release for release in releases},
    )


@cache
def table_hash() -> str:
    """Hash of the table as it lies in the package."""
    return hashlib.sha256(TABLE_FILE.read_bytes()).hexdigest()


def records_of(release: Release, metrics: Collection[str]) -> list[RunRecord]:
    """A release's documents as records, as importing them gives.

    Args:
        release: Of the table.
        metrics: Names of every metric a run has; those a document lacks are None with a reason.
    """
    records = []
    for result in release.results:
        names = Names(method_name=partial(_known, result.method), metrics=metrics)
        records.append(read_document(result.document, names, source=f"{release.key}/{result.experiment}"))
    return records


def _known(name: str, config: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    """The name the table has: telling it from the config would take ``peft``."""
    return name
