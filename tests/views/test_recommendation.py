"""The answer's sentences say what is known, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from judged import LOSS, a_candidate, a_verdict, failures
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.recommendation import Recommendation, recommend
from peftscope.analysis.verdict import Verdict
from peftscope.analysis.within_limits import Limits
from peftscope.study.metrics import known_metrics
from peftscope.views.recommendation import recommendation_topics

SPECS = known_metrics()
BASE = a_candidate("base", 0.1, is_base=True)


def _recommend(verdict: Verdict, **options: Any) -> Recommendation:
    return recommend(verdict, metrics=SPECS, **options)


def _told(found: Recommendation) -> dict[str, str]:
    topics = recommendation_topics(found, None, SPECS)
    return {t.title: " ".join([*t.lines, *("|".join(row) for row in t.rows)]) for t in topics}


def _text(found: Recommendation) -> str:
    return " ".join(f"{title}: {text}" for title, text in _told(found).items())


def _memory(value: float) -> dict[str, float]:
    return {"peak_train_memory_bytes": value}


def test_equivalent_and_undecided_methods_are_reported_separately() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6), a_candidate("b", 0.595), a_candidate("c", 0.57))
    text = _told(_recommend(verdict))["Not detectably different from it"]
    assert "The same, inside a margin of 2.0 points: b (+0.5 points" in text
    assert "Undecided, neither better nor shown to be the same (all 6 pairs judged at once): c (+3.0 points" in text


def test_required_extra_seeds_and_undecidable_pairs_are_reported() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6), a_candidate("b", 0.57), a_candidate("c", 0.565))
    pairs = [replace(p, more_seeds=None) if "c" in (p.first, p.second) else p for p in verdict.pairs]
    text = _told(_recommend(replace(verdict, pairs=tuple(pairs))))["Not enough evidence"]
    assert "About 4 more seeds of each would distinguish a from b" in text
    assert "No affordable number of seeds would likely distinguish a from c; more test examples might." in text


def test_with_one_seed_no_required_number_of_seeds_is_estimated() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6, num_seeds=1), a_candidate("b", 0.57, num_seeds=1))
    verdict = replace(verdict, pairs=tuple(replace(p, more_seeds=None) for p in verdict.pairs))
    text = _text(_recommend(verdict))
    assert "take 3" in text
    assert "No affordable number" not in text
    assert "One seed: the intervals are over test examples alone" in text


def test_a_choice_made_by_cost_reports_better_scoring_methods() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6, metrics=_memory(2e9)), a_candidate("b", 0.4, metrics=_memory(1e9)))
    text = _text(_recommend(verdict, prefer=["memory"]))
    assert "Take b" in text
    assert "chosen by what you prefer: the least training memory, among the methods that keep the limits" in text
    assert "Detectably better than it, and not chosen for what you prefer or for the limits: a (+20.0 points" in text


def test_a_preference_for_an_unmeasured_metric_is_reported() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6, metrics=_memory(2e9)), a_candidate("b", 0.4))
    assert "Nobody measured decoding step, so that could not count." in _text(_recommend(verdict, prefer=["latency"]))


def test_an_unmeasured_base_and_an_unbeaten_base_are_reported() -> None:
    assert "The untouched base was not measured" in _text(_recommend(a_verdict(a_candidate("a", 0.6))))
    verdict = a_verdict(a_candidate("base", 0.5, is_base=True), a_candidate("a", 0.53))
    text = _text(_recommend(verdict, limits=Limits(score=0.52)))
    assert "It is not detectably better than leaving the model alone." in text


def test_long_method_lists_are_summarised_by_a_count() -> None:
    many = [a_candidate(f"m{n:02}", 0.5 - n / 1000, metrics=_memory(9e9)) for n in range(30)]
    verdict = a_verdict(BASE, a_candidate("a", 0.6, metrics=_memory(1e9)), *many)
    told = _told(_recommend(verdict))
    assert told["It detectably beats 30 of 30"].startswith("and 22 more, by more than these")
    told = _told(_recommend(verdict, limits=Limits(costs={"memory": 2e9})))
    text = told["What the limits left out: 30 (training memory ≤ 2 GB)"]
    assert text.startswith("and 20 more, none of which scores higher")
    assert "m00|50.0 %|training memory 9 GB, 7 GB over" in text


def test_a_score_limit_on_a_loss_is_an_upper_limit() -> None:
    verdict = a_verdict(a_candidate("a", 2.0), a_candidate("b", 1.0), metric=LOSS)
    told = _told(_recommend(verdict, limits=Limits(score=1.5)))
    assert "held out loss 1.000 [0.970, 1.030]" in told["Take b"]
    assert told["What the limits left out: 1 (score ≤ 1.500)"].endswith("a|2.000|score 2.000, 0.500 over")


def test_a_limit_on_an_unmeasured_metric_excludes_all_and_is_reported() -> None:
    verdict: Verdict = a_verdict(BASE, a_candidate("a", 0.6))
    told = _told(_recommend(verdict, limits=Limits(costs={"latency": 0.08}, score=0.3)))
    assert "Nothing here satisfies the limits" in told
    told_why = told["What the limits left out: 1 (decoding step ≤ 80 ms, score ≥ 30.0 %)"]
    assert "decoding step not measured (measure.latency: true measures it)" in told_why


def test_limits_are_shown_in_the_unit_they_were_given_in() -> None:
    limits = Limits(costs={"memory": 8 * 2**20, "latency": 0.05}, given={"memory": "8MiB", "latency": "50ms"})
    told = _told(_recommend(a_verdict(BASE, a_candidate("a", 0.6)), limits=limits))
    assert "What the limits left out: 1 (training memory ≤ 8MiB, decoding step ≤ 50ms)" in told


def test_of_methods_that_break_as_many_limits_the_nearest_is_named() -> None:
    far = a_candidate("far", 0.6, metrics={"peak_train_memory_bytes": 9e9})
    near = a_candidate("near", 0.5, metrics={"peak_train_memory_bytes": 3e9})
    told = _told(_recommend(a_verdict(far, near), limits=Limits(costs={"memory": 2e9})))
    assert told["Nothing here satisfies the limits"].startswith("Nearest to them: near")


def test_failures_with_the_same_reason_are_counted() -> None:
    lost = a_candidate("b", 0.5, failures=failures("oom: no memory", "oom: no memory", "killed: by hand"))
    told = _told(_recommend(a_verdict(BASE, a_candidate("a", 0.6), lost)))
    assert told["3 runs failed"] == "b: oom: no memory (2 runs) b: killed: by hand"


def _in_tiers(verdict: Verdict, *tiers: tuple[str, ...]) -> Verdict:
    place = {name: number for number, names in enumerate(tiers, start=1) for name in names}
    candidates = tuple(replace(c, tier=place[c.method]) for c in verdict.candidates)
    return replace(verdict, candidates=candidates, tiers=tiers)


def test_a_choice_alone_in_the_top_tier_is_called_the_best() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6), a_candidate("b", 0.57))
    text = _text(_recommend(_in_tiers(verdict, ("a",), ("b",), ("base",))))
    assert "It is alone in the top tier: the best of all with 95 % confidence." in text
    assert "the top tier, the answer is clearer: not b." in text


def test_a_choice_sharing_the_top_tier_is_not_reported_as_alone() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6), a_candidate("b", 0.57))
    text = _text(_recommend(_in_tiers(verdict, ("a", "b"), ("base",))))
    assert "top tier" not in text


def test_the_heading_of_a_choice_reports_its_diverged_trainings() -> None:
    shaky = a_candidate("a", 0.6, num_seeds=2, failures=failures("diverged: loss is NaN", "killed: power cut"))
    told = _told(_recommend(a_verdict(BASE, shaky, a_candidate("b", 0.57))))
    text = told["Take a: 1 of 3 trainings diverged"]
    assert "1 of 3 trainings diverged; its score is the mean over all of them" in text


def test_cheaper_methods_are_described_by_whether_they_are_within_the_margin() -> None:
    costly, cheap = a_candidate("a", 0.6, metrics=_memory(2e9)), a_candidate("b", 0.57, metrics=_memory(1e9))
    verdict = a_verdict(BASE, costly, cheap)
    assert "Cheaper, and perhaps worse: b (by up to 7.0 points) in training memory" in _text(_recommend(verdict))
    near = [replace(p, difference=Estimate(0.005, -0.005, 0.015)) if p.second == "b" else p for p in verdict.pairs]
    text = _text(_recommend(replace(verdict, pairs=tuple(near))))
    assert "Cheaper, and worse by less than 2.0 points, if at all: b in training memory" in text


def test_tied_methods_excluded_as_cheaper_choices_are_named_with_the_reason() -> None:
    shaky = a_candidate("c", 0.57, failures=failures("diverged: loss is NaN"), metrics=_memory(1e9))
    verdict = a_verdict(
        BASE, a_candidate("a", 0.6, metrics=_memory(3e9)), a_candidate("b", 0.57, metrics=_memory(2e9)), shaky
    )
    text = _told(_recommend(verdict))["Not detectably different from it"]
    assert "The cheapest of the choice and these: b in training memory" in text
    assert "Left out of that, since trainings diverged or the base is not detectably beaten: c." in text


def test_overlapping_intervals_of_a_better_pair_are_explained() -> None:
    wide = a_candidate("a", 0.6, half=0.06), a_candidate("b", 0.57, half=0.06)
    verdict = a_verdict(BASE, *wide)
    pairs = tuple(replace(p, verdict="better") if (p.first, p.second) == ("a", "b") else p for p in verdict.pairs)
    text = _text(_recommend(replace(verdict, pairs=pairs)))
    assert "Though intervals of the scores overlap (b): both answered the same examples" in text
    apart = a_verdict(BASE, a_candidate("a", 0.6, half=0.01), a_candidate("b", 0.4, half=0.01))
    assert "overlap" not in _text(_recommend(apart))


def test_the_price_of_a_gain_in_forgetting_is_told_for_the_choice_and_its_rivals() -> None:
    verdict = a_verdict(
        BASE,
        a_candidate("a", 0.60, metrics={"forgetting": 0.2}),
        a_candidate("b", 0.58, metrics={"forgetting": -0.01}),
        a_candidate("c", 0.57),
        a_candidate("d", 0.50, metrics={"forgetting": 0.1}),
    )
    found = _recommend(verdict)
    text = _told(found)["What the gain costs in forgetting"]
    assert "a: +50.0 points" in text
    assert "for 0.200 nats of forgetting a token (0.004 a point); it keeps 81.9 % of the base." in text
    assert "b: +48.0 points" in text
    assert "and nothing forgotten (-0.010 nats a token)." in text
    assert "c:" not in text  # nobody measured it
    assert "d:" not in text  # beaten by the choice
    told = {("a", "base"): "undecided"}
    assert "What the gain costs in forgetting" not in _told(
        _recommend(a_verdict(BASE, a_candidate("a", 0.6), told=told))
    )
