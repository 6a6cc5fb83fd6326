"""Scores that are no learning are named beside the recommendation, and not praised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.suspicions import is_above, suspicions
from peftscope.analysis.verdict import Candidate, MetricSummary
from peftscope.schema.metric import MetricSpec
from peftscope.views.suspicions import suspicion_lines

SHARE = MetricSpec(name="exact_match", unit="share", direction="higher", window="")


def _candidate(method: str, score: float, low: float | None = None, **metrics: float) -> Candidate:
    summaries = {n: MetricSummary(mean=v, low=v, high=v, num_runs=1) for n, v in metrics.items()}
    return Candidate(method=method, card=method, score=Estimate(score, low, None), metrics=summaries)


@pytest.mark.parametrize(
    ("metrics", "score", "kind", "said"),
    [
        ({"same_answer_share": 1.0}, 0.4, "constant", "lora gives one and the same answer to every test row"),
        ({"majority_score": 0.95}, 0.95, "majority", "would score 95.0 %; not detectably above that: lora"),
        ({}, 0.0, "none_right", "Not one test row was answered rightly"),
        ({"target_in_prompt_share": 1.0}, 1.0, "given_away", "stands in the prompt of every test row"),
        ({"unreachable_share": 0.25}, 0.7, "unreachable", "25.0 % of the test answers have more tokens"),
        ({"truncated_share": 0.5}, 0.7, "cut_off", "50.0 % of the answers did not end"),
        ({"run_on_share": 0.3}, 0.7, "run_on", "30.0 % of the answers run on"),
    ],
)
def test_each_kind_of_suspicion_is_told(metrics: dict[str, float], score: float, kind: str, said: str) -> None:
    found = suspicions([_candidate("lora", score, **metrics)], SHARE)
    assert [suspicion.kind for suspicion in found] == [kind]
    assert said in suspicion_lines(found)[0]


def test_learned_scores_raise_no_suspicion() -> None:
    told = {"same_answer_share": 0.5, "majority_score": 0.4, "unreachable_share": 0.0, "truncated_share": 0.1}
    assert not suspicions([_candidate("lora", 0.7, 0.6, **told)], SHARE)
    base = replace(_candidate("base", 0.0, same_answer_share=1.0), is_base=True)
    assert not suspicions([_candidate("lora", 0.7, 0.6, **told), base], SHARE), "the base is not what is recommended"


def test_a_score_is_above_the_majority_only_with_its_whole_interval() -> None:
    assert is_above(_candidate("lora", 0.97, 0.96), 0.95)
    assert not is_above(_candidate("lora", 0.97, 0.94), 0.95)
    assert is_above(_candidate("lora", 0.1, 0.05), None)
