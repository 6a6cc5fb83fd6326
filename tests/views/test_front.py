"""A front says how sure each place on it is, and what is not known of it."""

from __future__ import annotations

from typing import Any

from judged import ACCURACY, a_candidate, a_verdict
from peftscope.analysis.front import Front
from peftscope.measures.registry import metric_specs
from peftscope.views.front import front_topic

MEMORY = metric_specs()["peak_train_memory_bytes"]


def _front(**parts: Any) -> Front:
    known: dict[str, Any] = {
        "metrics": (ACCURACY, MEMORY), "points": {"b": (0.4, 1e9), "a": (0.6, 2e9)}, "members": ("b", "a"),
        "membership": {"a": 0.83, "b": None}, "removable": {}, "hypervolume": None, "reference": (0.4, 2e9),
    }  # fmt: skip
    return Front(**{**known, **parts})


def _singles(num_examples: int) -> Any:
    parts: dict[str, Any] = {"half": None, "single": True, "num_examples": num_examples}
    return a_verdict(a_candidate("a", 0.6, **parts), a_candidate("b", 0.4, **parts))


def test_the_front_lists_members_with_probabilities_and_names_unmeasured_methods() -> None:
    verdict = a_verdict(a_candidate("base", 0.1, is_base=True), a_candidate("a", 0.6), a_candidate("b", 0.4))
    topic = front_topic(_front(), verdict)
    assert topic is not None
    assert topic.rows[0] == ("on the front", "accuracy", "memory", "probability")
    assert topic.rows[1:] == [("b", "40.0 %", "1 GB", "single run"), ("a", "60.0 %", "2 GB", "83 %")]
    assert "Without a figure of it, and so not on the front: base." in topic.lines
    assert not any("Each is a single run" in line for line in topic.lines)


def test_for_single_runs_one_standard_error_removals_are_reported() -> None:
    topic = front_topic(_front(membership={}, removable={"a": ("b", "c")}), _singles(100))
    assert topic is not None
    assert topic.rows[0] == ("on the front", "accuracy", "memory")
    assert "Each is a single run: nobody knows how sure its place is." in topic.lines
    assert "One standard error of its score could remove a: b, c would beat it." in topic.lines


def test_no_stability_is_claimed_where_the_error_is_unknown() -> None:
    sure = front_topic(_front(membership={}), _singles(100))
    unknown = front_topic(_front(membership={}), _singles(0))
    assert sure is not None
    assert unknown is not None
    assert "could remove none of them" in sure.lines[-1]
    assert "is not known" in unknown.lines[-1]


def test_an_empty_front_is_not_shown() -> None:
    assert front_topic(_front(points={}, members=(), membership={}), a_verdict(a_candidate("a", 0.6))) is None
