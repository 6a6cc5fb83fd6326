"""Where a run's learning rate comes from, in words."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.analysis.tuning import Tuning
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec

__all__ = ["known_source", "with_rate_source"]

TRIED = "tried by tuning"
CHOSEN = "chosen by tuning on validation data"
GIVEN = "given with the study"
FORMER = "of a former form of the study"


def known_source(run: RunSpec, default: float, source: str) -> str | None:
    """Where a run's learning rate comes from, as far as the run itself tells; None for one that is not trained.

    Args:
        run: It does not know whether its study was tuned: a rate is part of its id however it was found.
        default: The learning rate on the method's card.
        source: Where the card has it from.
    """
    if run.learning_rate is None:
        return None
    if run.purpose == "trial":
        return TRIED
    return f"the card's default ({source})" if run.learning_rate == default else GIVEN


def with_rate_source(record: RunRecord, tunings: Sequence[Tuning]) -> RunRecord:
    """The record with what its study tells of the learning rate's source.

    Args:
        record: Of a run of the study.
        tunings: What the study's tuning came to; empty where it has none, which leaves a final run's record as it is.
    """
    facts, run = record.method_facts, record.spec
    if facts is None or facts.learning_rate_source is None:
        return record
    if run.purpose == "trial":
        source = TRIED
    elif tunings:
        source = CHOSEN if any(_chose(tuning, run) for tuning in tunings) else FORMER
    else:
        return record
    return record.model_copy(update={"method_facts": facts.model_copy(update={"learning_rate_source": source})})


def _chose(tuning: Tuning, run: RunSpec) -> bool:
    chosen, method = tuning.chosen, run.method
    return (
        chosen is not None
        and tuning.method == method.title
        and tuning.learning_rate == run.learning_rate
        and all(method.knobs.get(name) == value for name, value in chosen.knobs.items())
    )
