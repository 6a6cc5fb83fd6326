"""Where a learning rate comes from is said as far as it is known."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.analysis.rate_source import known_source, with_rate_source
from peftscope.analysis.tuning import Trial, Tuning
from peftscope.schema.record import MethodFacts, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from pretend import a_record

GIVEN = "given with the study"
CHOSEN = "chosen by tuning on validation data"
FORMER = "of a former form of the study"


def _run(rate: float | None = 4e-3, *, title: str = "mine", purpose: Any = "final", **knobs: Any) -> RunSpec:
    method = MethodSpec(name="lora", label=title, knobs={"lora_alpha": 7, **knobs})
    return RunSpec(model="m", task="math", method=method, learning_rate=rate, purpose=purpose)


def _record(run: RunSpec, source: str | None = GIVEN) -> RunRecord:
    facts = MethodFacts(tuner_class="T", adapted_modules=(), peft_config=None, learning_rate_source=source)
    return a_record(run, method_facts=facts)


def _tuning(rate: float | None, **knobs: Any) -> Tuning:
    chosen = None
    if rate is not None:
        chosen = Trial(number=0, learning_rate=rate, knobs=knobs, origin="grid", run_id="x", status="ok")
    return Tuning(method="mine", num_offered=1, trials=(), chosen=chosen, learning_rate=rate)


def _source(record: RunRecord) -> str | None:
    assert record.method_facts is not None
    return record.method_facts.learning_rate_source


def test_a_run_distinguishes_default_given_and_tried_learning_rates() -> None:
    assert known_source(_run(), 4e-3, "paper: table 2") == "the card's default (paper: table 2)"
    assert known_source(_run(), 1e-3, "paper: table 2") == GIVEN
    assert known_source(_run(purpose="trial"), 4e-3, "paper: table 2") == "tried by tuning"
    assert known_source(_run(None), 4e-3, "paper: table 2") is None


@pytest.mark.parametrize(
    ("run", "tuning", "source"),
    [
        (_run(), _tuning(4e-3), CHOSEN),
        (_run(r=8), _tuning(4e-3, r=8), CHOSEN),
        (_run(), _tuning(1e-3), FORMER),
        (_run(r=8), _tuning(4e-3, r=32), FORMER),
        (_run(title="other"), _tuning(4e-3), FORMER),
        (_run(), _tuning(None), FORMER),
        (_run(purpose="trial"), _tuning(None), "tried by tuning"),
    ],
)
def test_in_a_tuned_study_records_show_whether_tuning_chose_the_rate(run: RunSpec, tuning: Tuning, source: str) -> None:
    assert _source(with_rate_source(_record(run), [tuning])) == source
    assert _source(with_rate_source(_record(run, "the card's default (paper: 2)"), [tuning])) == source


def test_without_tuning_a_record_is_unchanged() -> None:
    for source in (GIVEN, "the card's default (paper: 2)", None):
        assert with_rate_source(_record(_run(), source), []) == _record(_run(), source)
    bare = a_record(_run())
    assert with_rate_source(bare, [_tuning(4e-3)]) is bare
