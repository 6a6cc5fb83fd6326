"""``peftscope recommend``: which technique to take, under your limits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from peftscope.cli import options
from peftscope.cli.amounts import bytes_of, number_of, seconds_of
from peftscope.cli.figures import known_metrics
from peftscope.cli.output import print_json, show_warnings
from peftscope.cli.request import Request
from peftscope.errors import SpecError
from peftscope.views.line import one_line

if TYPE_CHECKING:
    from peftscope.analysis.front import Front
    from peftscope.analysis.limits import Limits
    from peftscope.analysis.recommendation import Recommendation
    from peftscope.cli.findings import Findings
    from peftscope.views.report.material import Topic

__all__ = ["answer", "default_have", "memory_front", "recommend"]

READERS = {"bytes": bytes_of, "s": seconds_of}
"""How amounts of a unit are written; others are numbers."""
HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
"""Two of these would fill a line; the records hold them whole."""


def recommend(
    study: Annotated[Path, typer.Argument(help="A folder of results, or the study.yaml they were made from.")],
    max_memory: Annotated[str | None, typer.Option(help="Most memory at the peak of training, such as 12GB.")] = None,
    max_checkpoint: Annotated[str | None, typer.Option(help="Largest checkpoint, such as 50MB.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Longest training, such as 30min.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Slowest decoding step at batch 1, such as 80ms.")] = None,
    max_forgetting: Annotated[str | None, typer.Option(help="Most forgetting, in nats per token.")] = None,
    most: Annotated[
        list[str] | None,
        typer.Option("--max", help="Most of any quantity with a limit, such as memory=12GB; may stand several times."),
    ] = None,
    min_score: Annotated[str | None, typer.Option(help="Least score, such as 0.4 or 40%; of a loss the most.")] = None,
    mergeable: Annotated[bool, typer.Option("--mergeable", help="Only what can be merged into the base.")] = False,
    prefer: Annotated[
        str,
        typer.Option(
            help="What to rank by: score, memory, checkpoint, time, forgetting, latency or any quantity with a limit; "
            "several by commas."
        ),
    ] = "score",
    margin: Annotated[
        str | None, typer.Option(help="Difference of scores that does not matter; 0.02 of a share by default.")
    ] = None,
    have: Annotated[
        str | None, typer.Option(help="Technique you have; relatives of it are cheap to try. LoRA by default.")
    ] = None,
    confirm: Annotated[
        int | None, typer.Option(min=2, help="Then train the choice with so many fresh seeds; what they alone say.")
    ] = None,
    across: options.Across = False,
    json_output: options.Json = False,
) -> None:
    """Say which technique to take, what is as good, and how sure that is.

    Limits filter, preferences rank. Exit code 0: a choice; 1: nothing satisfies the limits, or a choice and runs that
    failed or are still to do; 2: the request was wrong.
    """
    from peftscope.analysis.limits import Limits

    request = _Request("recommend")
    named = {
        "memory": max_memory,
        "checkpoint": max_checkpoint,
        "time": max_time,
        "latency": max_latency,
        "forgetting": max_forgetting,
    }
    limits = Limits(
        costs=request.costs(named, most or ()),
        score=request.amount("--min-score", min_score, number_of),
        mergeable=mergeable,
    )
    width = request.amount("--margin", margin, number_of)
    preferences = request.preferences(prefer)
    known = have or default_have()
    request.check_technique(known)
    request.end()
    _tell(study, limits, preferences, known, width, confirm=confirm, across=across, json_output=json_output)


def default_have() -> str:
    """The technique most others are variants of: the one nearly everybody has."""
    from peftscope.methods.catalog import cards

    return Counter(card.variant_of for card in cards().values() if card.variant_of).most_common(1)[0][0]


def answer(
    found: Findings, *, limits: Limits | None = None, prefer: Sequence[str] = ("score",), have: str | None = None
) -> Recommendation:
    """The recommendation on what was found; without more, by the score and for somebody who has LoRA."""
    from peftscope.analysis.recommendation import recommend as decide
    from peftscope.analysis.relatives import relatives
    from peftscope.cli.findings import traits_by_name

    names = dict(zip(found.runs["run_id"], found.runs["method"]))
    finals = [record for record in found.records if record.run_id in names and record.status == "ok"]
    traits = traits_by_name()
    told = decide(found.verdict, metrics=known_metrics(), limits=limits, prefer=prefer, traits=traits)
    records = {names[record.run_id]: record for record in finals}
    return replace(told, kin=relatives(told, have or default_have(), traits=traits, records=records))


def memory_front(found: Findings) -> Front | None:
    """The front of the score against training memory; None where nobody measured it."""
    from peftscope.analysis.front import front_of
    from peftscope.analysis.limits import metric_for, quantities_of

    name = metric_for(quantities_of(known_metrics()).get("memory", ()), found.verdict.candidates)
    spec = next((metric for metric in found.metrics if metric.name == name), None)
    return front_of(found.verdict, (found.metric, spec)) if spec is not None else None


class _Request(Request):
    """What the user asks for, with every problem in it."""

    def costs(self, named: Mapping[str, str | None], others: Sequence[str]) -> dict[str, float]:
        """The most of each quantity, in its unit: from options of their own, and from ``--max NAME=AMOUNT``."""
        units = {metric.limit: metric.unit for metric in known_metrics() if metric.limit is not None}
        found: dict[str, float | None] = {}
        for name, text in named.items():
            if text is not None:
                found[name] = self.amount(f"--max-{name}", text, READERS.get(units[name], number_of))
        for given in others:
            name, _, text = (part.strip() for part in given.partition("="))
            self.check("--max", "quantity", name, units)
            if name in found:
                self.problems.append(f"--max: {name} is limited more than once")
            elif name in units:
                found[name] = self.amount(f"--max {name}", text, READERS.get(units[name], number_of))
        return {name: value for name, value in found.items() if value is not None}

    def preferences(self, text: str) -> tuple[str, ...]:
        from peftscope.analysis.limits import quantities_of

        known = quantities_of(known_metrics())
        names = self.names("--prefer", "preference", text, known)
        self.problems += [f"--prefer: {n} stands more than once" for n in dict.fromkeys(names) if names.count(n) > 1]
        if not names:
            self.problems.append(f"--prefer: nothing given; take some of {', '.join(known)}")
        return tuple(names)

    def check_technique(self, name: str) -> None:
        from peftscope.methods.catalog import cards

        self.check("--have", "method", name, cards())


def _tell(
    study: Path,
    limits: Limits,
    prefer: tuple[str, ...],
    have: str,
    margin: float | None,
    *,
    confirm: int | None,
    across: bool,
    json_output: bool,
) -> None:
    from peftscope.cli.confirm import confirm as run_again
    from peftscope.cli.findings import findings_of
    from peftscope.views.choice import confirmed_lines
    from peftscope.views.fairness import fairness_lines, unfinished_lines
    from peftscope.views.recommendation import recommendation_topics
    from peftscope.views.report.material import Topic

    with Console(stderr=True).status("reading results"):
        found = findings_of(study, margin=margin, across=across)
        _check_score(limits, found)
        told = answer(found, limits=limits, prefer=prefer, have=have)
        front = memory_front(found)
    topics = recommendation_topics(told, front, known_metrics())
    trained = None if told.choice is None or told.choice.is_base else told.choice
    unfinished = unfinished_lines(found.fairness)
    if unfinished:
        topics.append(Topic(title="Not judged, for want of a final run", lines=unfinished))
    if json_output:
        from peftscope.cli.recommend_document import document_of

        document = document_of(found, told, front, topics)
        if confirm is not None and trained is not None:
            document["confirmed"] = run_again(found, trained, confirm).document
        print_json("recommend", document)
    else:
        _print(found, topics, fairness_lines(found.fairness), across=across)
        if confirm is not None and trained is None:
            _print_lines(Console(highlight=False), "Nothing to confirm", ["No technique that is trained was chosen."])
        if confirm is not None and trained is not None:
            confirmed = run_again(found, trained, confirm)
            told_of = confirmed_lines(found.metric, confirmed.choice, confirmed.fresh, confirmed.seeds)
            _print_lines(Console(highlight=False), "With fresh seeds alone", told_of)
    if told.choice is None or told.failures or unfinished:
        raise typer.Exit(1)


def _check_score(limits: Limits, found: Findings) -> None:
    if limits.score is not None and found.metric.unit == "share" and limits.score > 1:
        line = (
            f"--min-score: {found.metric.name} is a share from 0 to 1; given {limits.score:g}, write {limits.score:g}%"
        )
        raise SpecError("recommend", [line])


def _print(found: Findings, topics: Sequence[Topic], fairness: Sequence[str], *, across: bool) -> None:
    from peftscope.views.table import TextTable, terminal_table

    console = Console(highlight=False)
    heading = f"{found.name}: {found.metric.name.replace('_', ' ')}, {found.metric.window}"
    console.print(Text(one_line(heading), style="bold"), soft_wrap=True)
    for place, topic in enumerate(topics):
        console.print(Text(f"\n{one_line(topic.title)}", style="bold green" if place == 0 else "bold"))
        if topic.rows:
            headings, *cells = [[one_line(cell) for cell in row] for row in topic.rows]
            table = terminal_table(TextTable(title=topic.title, headings=headings, cells=cells))
            if headings[-1] == "why":
                _let_wrap(table)
            console.print(Padding(table, (0, 0, 0, 2), expand=False))
        _print_indented(console, topic.lines)
    _print_lines(console, "How equally they were treated", fairness)
    if found.differing:
        how = "Ranked across different conditions, as asked" if across else "Different conditions, not ranked together"
        _print_lines(console, how, [HASH.sub(r"\1…", line) for line in found.differing])
    show_warnings(found.notes)


def _let_wrap(table: Any) -> None:
    """The last column is one of reasons: it may be broken into lines, names and figures may not."""
    table.columns[-1].no_wrap, table.columns[-1].justify = False, "left"


def _print_lines(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    _print_indented(console, lines)


def _print_indented(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        style = "yellow" if line.startswith("WARNING") else ""
        console.print(Padding(Text(one_line(line), style=style), (0, 0, 0, 2), expand=False))
