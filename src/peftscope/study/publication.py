"""An adapter, its card and the figures of its study -> a folder as the hub gets it, and on request the hub itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.errors import SpecError
from peftscope.methods.adapter_config import benchmark_optimizer
from peftscope.methods.catalog import BASE, card
from peftscope.schema.request import Request
from peftscope.store.files import read_records
from peftscope.study.folder import RESULTS, study_folder
from peftscope.study.hub import Uploaded, hub_page, is_hub_id, repository_problem, upload
from peftscope.study.publication_files import CARD, OURS, RESULTS_FILE, SCHEMA, published_files, put_folder
from peftscope.study.publishable import Publishable, find_publishable
from peftscope.study.published import is_published
from peftscope.upstream.contribution import Contribution, contribution_of
from peftscope.views.documents import json_text
from peftscope.views.line import one_line, printable
from peftscope.views.shown import Shown, labelled, unbroken
from peftscope.views.units import bytes_text

__all__ = ["Publication", "PublishedResults", "contribute", "publish"]

PUBLISHED = "published"
"""Folder in that of the results."""
CARD_LINES = 12
"""Of the card, shown before it is uploaded."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Publication(Shown):
    """A folder as the hub gets it, and whether it has it."""

    repository: str
    folder: Path
    private: bool
    files: Mapping[str, int]
    """Name -> bytes."""
    base: str | None
    """What the card and the adapter's config call the base."""
    uploaded: Uploaded | None = None
    """What the hub has; None where nothing was sent."""
    repeat: str | None = None
    """The command that sends it."""

    schema: ClassVar[str] = "publish"

    @property
    def warnings(self) -> list[str]:
        """What keeps others from using it, and what the hub had to say."""
        notes = [] if self.uploaded is None else list(self.uploaded.notes)
        if not is_hub_id(self.base):
            named = "is not named" if self.base is None else f"is called {self.base!r}, which is no id of the hub"
            notes.insert(0, f"the base {named}: others will not find it. Say what it is called there with --model")
        return notes

    def _content(self) -> Mapping[str, Any]:
        done = self.uploaded
        return {
            "repository": self.repository,
            "private": self.private,
            "folder": str(self.folder),
            "files": [{"name": name, "bytes": size} for name, size in self.files.items()],
            "base_model": self.base,
            "pushed": done is not None,
            "url": hub_page(self.repository) if done is None else done.url,
            "commit": None if done is None else done.commit,
            "warnings": self.warnings,
            "to_push": None if done is not None else self.repeat,
        }

    def _parts(self) -> Iterator[RenderableType]:
        kind = "private" if self.private else "public"
        if self.uploaded is None:
            yield Text(f"{self.repository} ({kind}): a dry run, nothing was sent", style="bold")
        else:
            yield Text(f"{self.repository} ({kind}): published", style="bold green")
            yield unbroken(f"  {self.uploaded.url}")
            yield Text(f"  commit {self.uploaded.commit}")
        yield Text(f"\nfiles, {bytes_text(sum(self.files.values()))} in all", style="bold")
        yield labelled([(name, bytes_text(size)) for name, size in self.files.items()])
        yield unbroken(f"  they lie in {self.folder}")
        if self.uploaded is None:
            lines = (self.folder / CARD).read_text(encoding="utf-8").splitlines()
            yield Text(f"\n{CARD}, the first of {len(lines)} lines", style="bold")
            for line in lines[:CARD_LINES]:
                yield Text(f"  {printable(line)}", style="dim")
        for line in self.warnings:
            yield Text(f"\n{line}", style="yellow")
        if self.uploaded is None and self.repeat is not None:
            yield Text("\nto send it", style="bold")
            yield unbroken(f"  {self.repeat}")


@dataclass(frozen=True, kw_only=True, repr=False)
class PublishedResults(Shown):
    """Experiments and results in the public benchmark's layout, for a pull request that a person opens."""

    folder: Path
    found: Contribution

    schema: ClassVar[str] = "publish"

    def _content(self) -> Mapping[str, Any]:
        found = self.found
        return {
            "folder": str(self.folder),
            "benchmark": found.benchmark,
            "experiments": list(found.experiments),
            "num_results": found.num_results,
            "files": [{"name": name, "bytes": len(text.encode())} for name, text in found.files.items()],
            "differing": list(found.differing),
            "pushed": False,
        }

    def _parts(self) -> Iterator[RenderableType]:
        found = self.found
        counts = f"{_counted(len(found.experiments), 'experiment')}, {_counted(found.num_results, 'result')}"
        yield Text(f"{found.benchmark}: {counts}; nothing was sent", style="bold")
        yield unbroken(f"  {self.folder}")
        if found.differing:
            yield Text("\nnot as the benchmark has it, so that they are not compared with its own", style="bold yellow")
            yield labelled([("", line) for line in found.differing])
        yield Text("\nto propose them", style="bold")
        yield unbroken("  git clone https://github.com/huggingface/peft")
        yield unbroken(f"  cp -r {shlex.quote(str(self.folder / 'method_comparison'))} peft/")
        yield Text(
            "  and open a pull request. It brings new experiment folders and changes none that is there; few settings "
            "differ from the defaults; none is close to one that is there already. The maintainers run an experiment "
            "again on their own machine: your results show that its settings work."
        )


def publish(
    adapter: str | Path,
    *,
    to: str,
    method: str | None = None,
    model: str | None = None,
    study: str | Path | None = None,
    output: str | Path | None = None,
    private: bool = False,
    push: bool = False,
    request: Request | None = None,
) -> Publication:
    """Write the folder that is published, and with ``push`` upload it.

    It holds the weights, the adapter's config, a card, pictures of the study and its figures: no data, no answers, no
    state of the optimizer, and no path of this machine.

    Args:
        adapter: Folder of an adapter, or one that ``convert`` wrote; id of a run; or a study's file or folder, which
            means the method it recommends.
        to: Repository: ``USER/NAME``.
        method: Of a study, in place of the recommended one: its best seed on validation.
        model: What the base is called on the hub, where it is a folder here.
        study: Where the run is looked for; for a folder, the study whose figures go with it.
        output: Folder to write; ``results/published/USER--NAME`` where None. One that was written so before is
            replaced.
        private: Whether nobody else may see the repository.
        push: Whether to upload. Made again, the same repository is brought up to date.
        request: Collects what is wrong with the arguments, by the names they are given under.

    Raises:
        SpecError: There is no such adapter, run or study, or an argument is wrong.
        MethodRefused: ``peft`` alone does not load the adapter.
        StoreError: A record is unreadable, weights are missing, or the folder cannot be written.
        HubError: There is no token, the hub refuses, or it cannot be reached.
    """
    request = request or Request("publish")
    for name, given in (("to", to), ("model", model)):
        problem = None if given is None else repository_problem(given)
        if problem is not None:
            request.note(name, problem)
    place = None if study is None else Path(study)
    found = find_publishable(adapter, method=method, model=model, study=place, request=request)
    folder = Path(output) if output is not None else RESULTS / PUBLISHED / to.replace("/", "--")
    put_folder(folder, published_files(found, to), source=found.folder)
    done = None
    if push:
        done = upload(folder, to, private=private, ours=OURS, message=_message(found))
    words = ["peftscope", "publish", str(adapter), "--to", to]
    options = {"--method": method, "--model": model, "--study": study, "--output": output}
    words += [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return Publication(
        repository=to,
        folder=folder,
        private=private,
        files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        base=found.base,
        uploaded=done,
        repeat=shlex.join([*words, *(["--private"] if private else []), "--push"]),
    )


def contribute(place: str | Path, output: str | Path | None = None) -> PublishedResults:
    """Write a study's experiments and results in the layout the public benchmark takes by pull request; send nothing.

    Args:
        place: The study's folder or file.
        output: Folder to write; ``results/published/STUDY--benchmark`` where None.

    Raises:
        SpecError: There is no such study, it has no finished run, or its task is none of the benchmark's.
        StoreError: A record is unreadable, or the folder cannot be written.
    """
    place = Path(place)
    if not place.exists() and not is_published(place):
        raise SpecError(str(place), ["no such study; results are those of a study's folder, or of its file"])
    source = study_folder(place)
    own = [r for r in read_records(source) if r.origin == "own" and r.spec.purpose == "final" and r.status == "ok"]
    trained = [record for record in own if record.spec.method.name != BASE]
    found = contribution_of(trained, str(place), optimizer_of=lambda name: benchmark_optimizer(card(name)))
    name = source.resolve().name
    folder = Path(output) if output is not None else RESULTS / PUBLISHED / f"{name}--benchmark"
    done = PublishedResults(folder=folder, found=found)
    told = {**done.document(), "schema": SCHEMA, "folder": folder.name}
    put_folder(folder, {**found.files, RESULTS_FILE: json_text(told) + "\n"}, source=source)
    return done


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _message(found: Publishable) -> str:
    """Of the commit."""
    if found.record is None:
        return "Adapter, published with peftscope"
    return f"{one_line(found.record.spec.method.title)}, published with peftscope"
