"""Brackets close where there is something to close them, and say so where there is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from peftscope.schema.effort import EFFORTS, Effort
from peftscope.tuning.bracket import Choice, End, Seen, choose, next_asks, rate_at, start_index

Loss = Callable[[float, int, bool], float]
"""Of a rate's lattice place, a seed's number, and whether at the end."""


def _unfold(
    loss: Loss, effort: Effort, start: int = 0, scores: Callable[[int], float] | None = None
) -> tuple[Choice | None, Seen, list[int]]:
    """Choice, everything seen, and the number of trials asked for at once."""
    rung: dict[int, float] = {}
    end: dict[tuple[int, int], End] = {}
    asked = []
    while asks := next_asks(Seen(rung=rung, end=end), effort, start):
        asked.append(len(asks))
        for ask in asks:
            if not ask.full:
                assert ask.index not in rung
                rung[ask.index] = loss(ask.index, ask.seed_number, False)
                continue
            place = (ask.index, ask.seed_number)
            assert place not in end
            answers = () if scores is None else _answers(scores(ask.index))
            end[place] = End(loss=loss(*place, True), scores=answers)
    return choose(Seen(rung=rung, end=end), effort), Seen(rung=rung, end=end), asked


def _answers(share: float, count: int = 400) -> tuple[float, ...]:
    return tuple(float(number < share * count) for number in range(count))


def _valley(best: float, rung_shift: float = 0.0, cliff: float = math.inf) -> Loss:
    def loss(place: float, seed: int, at_end: bool) -> float:
        if place > cliff:
            return math.inf
        return 1 + 0.05 * (place - best - (0 if at_end else rung_shift)) ** 2

    return loss


@pytest.mark.parametrize("effort", EFFORTS.values(), ids=list(EFFORTS))
@pytest.mark.parametrize("best", [-8.3, -3.0, 0.2, 4.6, 8.0])
@pytest.mark.parametrize("rung_shift", [-2.0, 0.0, 2.0])
def test_the_best_rate_is_found_from_far_away_and_bracketed(effort: Effort, best: float, rung_shift: float) -> None:
    choice, seen, _ = _unfold(_valley(best, rung_shift), effort)
    assert choice is not None
    assert choice.edge is None
    assert abs(math.log10(choice.rate) * 4 - best) <= 0.26  # half of a quarter step, and two digits
    assert len(seen.rung) <= effort.num_short
    assert len(seen.end) <= effort.num_full
    for neighbour in (choice.index - 1, choice.index + 1):
        assert seen.end[neighbour, 0].loss > seen.end[choice.index, 0].loss


@pytest.mark.parametrize("effort", EFFORTS.values(), ids=list(EFFORTS))
def test_divergence_at_a_higher_rate_closes_the_upper_bracket_side(effort: Effort) -> None:
    choice, _, _ = _unfold(_valley(3.0, cliff=1.5), effort)
    assert choice is not None
    assert (choice.index, choice.edge) == (1, None)
    assert choice.rate < rate_at(1)


def test_a_best_rate_beyond_the_trial_budget_is_flagged_as_edge() -> None:
    effort = EFFORTS["quick"]
    falling, seen, _ = _unfold(lambda place, seed, at_end: -place, effort)
    assert falling is not None
    assert falling.edge == "highest"
    assert len(seen.rung) == effort.num_short
    assert len(seen.end) == effort.num_full
    rising, _, _ = _unfold(lambda place, seed, at_end: place, effort)
    assert rising is not None
    assert rising.edge == "lowest"


def test_a_rate_that_diverges_with_either_seed_is_not_chosen() -> None:
    def loss(place: float, seed: int, at_end: bool) -> float:
        return math.inf if seed == 1 and place >= 2 else 1 + 0.05 * (place - 2) ** 2

    choice, _, _ = _unfold(loss, EFFORTS["standard"])
    assert choice is not None
    assert choice.index == 1
    assert choice.edge is None


def test_if_every_trial_fails_the_search_ends_without_a_choice() -> None:
    choice, seen, _ = _unfold(lambda place, seed, at_end: math.inf, EFFORTS["standard"])
    assert choice is None
    assert len(seen.rung) == 8
    assert not seen.end


def test_if_all_full_trials_fail_the_search_ends_without_a_choice() -> None:
    choice, seen, _ = _unfold(lambda place, seed, at_end: math.inf if at_end else place**2, EFFORTS["standard"])
    assert choice is None
    assert len(seen.end) == EFFORTS["standard"].num_full


def test_scores_override_losses_when_they_differ_beyond_noise() -> None:
    def scores(place: int) -> float:
        return max(0.0, 0.8 - 0.2 * abs(place - 1))

    choice, seen, _ = _unfold(_valley(0.0), EFFORTS["standard"], scores=scores)
    assert choice is not None
    assert choice.by_score
    assert (choice.index, choice.edge) == (1, None)
    assert (2, 0) in seen.end, "the score's best has both neighbours, too"
    even, _, _ = _unfold(_valley(0.0), EFFORTS["standard"], scores=lambda place: 0.5 + 0.001 * place)
    assert even is not None
    assert not even.by_score


def test_learning_rates_of_all_methods_lie_on_one_grid() -> None:
    assert [rate_at(index) for index in range(-16, -11)] == [1e-4, 1.8e-4, 3.2e-4, 5.6e-4, 1e-3]
    assert all(start_index(rate_at(index)) == index for index in range(-40, 9))
