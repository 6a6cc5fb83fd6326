"""Intervals cover what they say they cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from peftscope.analysis.crossed import Crossed, fit_crossed
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.pairs import gains_of


def mean_estimate(scores: np.ndarray) -> Estimate:
    return mean_intervals(fit_crossed({"one": scores[None, :]}), 0.95)[0]


def paired_gain(scores: np.ndarray, reference: np.ndarray) -> Estimate:
    crossed = fit_crossed({"one": scores[None, :], "base": reference[None, :]}, fixed=["base"])
    return gains_of(crossed, "base", sign=1.0, level=0.95)["one"]


def _answers(
    source: np.random.Generator, seeds: list[int], *, mean: float = 0.5, seed_sd: float = 0.05, shared: float = 0.0
) -> Crossed:
    """Methods with these numbers of seeds on 200 examples; ``shared`` of the seed variance is one for all."""
    easy = source.random(200)
    luck = source.standard_normal(max(seeds))
    scores = {}
    for place, count in enumerate(seeds):
        own = np.sqrt(shared) * luck[:count] + np.sqrt(1 - shared) * source.standard_normal(count)
        copied = source.random((count, 200)) < 0.6
        draws = np.where(copied, easy, source.random((count, 200)))
        scores[str(place)] = (draws < (mean + seed_sd * own)[:, None]).astype(float)
    return fit_crossed(scores)


def _coverage(seeds: list[int], studies: int = 400, **how: float) -> tuple[float, float]:
    """Share of scores and of differences to the first whose interval holds the truth."""
    source, scores, gains = np.random.default_rng(0), [], []
    mean = how.get("mean", 0.5)
    for _ in range(studies):
        crossed = _answers(source, seeds, **how)
        scores += [e.low <= mean <= e.high for e in mean_intervals(crossed, 0.95)]
        gains += [e.low <= 0.0 <= e.high for e in gains_of(crossed, "0", sign=1.0, level=0.95).values()]
    return float(np.mean(scores)), float(np.mean(gains))


@pytest.mark.parametrize("truth", [0.03, 0.4, 0.9])
def test_share_intervals_cover_the_truth_in_about_95_percent(truth: float) -> None:
    source = np.random.default_rng(0)
    estimates = [mean_estimate((source.random(100) < truth).astype(float)) for _ in range(600)]
    covered = np.mean([e.low <= truth <= e.high for e in estimates])
    assert 0.92 <= covered <= 0.985


def test_a_single_run_gets_the_wilson_interval() -> None:
    scores = np.repeat([1.0, 0.0], [30, 70])
    wanted = stats.binomtest(30, 100).proportion_ci(0.95, method="wilson")
    assert mean_estimate(scores).interval == pytest.approx([wanted.low, wanted.high], abs=1e-4)


def test_paired_gain_intervals_cover_the_truth_in_about_95_percent() -> None:
    source, covered = np.random.default_rng(1), []
    for _ in range(600):
        hard = source.random(80)  # one difficulty for both, as with shared test examples
        gain = paired_gain((hard < 0.6).astype(float), (hard < 0.45).astype(float))
        covered.append(gain.low <= 0.15 <= gain.high)
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("truth", [(0.02, 0.02), (0.0, 0.05), (0.3, 0.3)])
def test_the_gain_interval_covers_the_truth_if_nearly_all_pairs_agree(truth: tuple[float, float]) -> None:
    source, covered = np.random.default_rng(4), []
    won, lost = truth
    for _ in range(800):
        pairs = source.choice([1.0, -1.0, 0.0], size=100, p=[won, lost, 1 - won - lost])
        gain = paired_gain((pairs > 0).astype(float), (pairs < 0).astype(float))
        assert gain.interval is not None
        covered.append(gain.interval[0] <= won - lost <= gain.interval[1])
    assert np.mean(covered) >= 0.93


def test_a_gain_of_zero_on_every_example_still_gets_an_interval() -> None:
    gain = paired_gain(np.ones(50), np.ones(50))
    assert gain.value == 0.0
    assert gain.interval is not None
    assert gain.interval[0] < -0.02
    assert gain.interval[1] > 0.02


def test_no_interval_is_given_when_the_data_allow_none() -> None:
    assert mean_estimate(np.array([0.3])).interval is None
    assert mean_estimate(np.array([2.5, 2.5])).interval is None
    assert paired_gain(np.array([0.75, 1.25]), np.array([0.25, 0.75])).interval is None


def test_pairing_gives_a_narrower_interval_than_two_separate_samples() -> None:
    hard = np.random.default_rng(2).random(200)
    a, b = (hard < 0.6).astype(float), (hard < 0.5).astype(float)
    shuffled = np.random.default_rng(3).permutation(b)
    paired, unpaired = paired_gain(a, b), paired_gain(a, shuffled)
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_zero_successes_still_give_an_interval() -> None:
    estimate = mean_estimate(np.zeros(100))
    assert estimate.low == 0.0
    assert 0.03 < estimate.high < 0.05


@pytest.mark.parametrize("mean", [0.06, 0.5])
def test_crossed_intervals_cover_the_truth_with_unequal_numbers_of_seeds(mean: float) -> None:
    scores, gains = _coverage([1, 2, 3, 3, 5], mean=mean, seed_sd=0.02 if mean < 0.1 else 0.05)
    assert 0.93 <= scores <= 0.975
    assert 0.93 <= gains <= 0.975


def test_intervals_of_two_methods_with_three_seeds_cover_the_truth() -> None:
    scores, gains = _coverage([3, 3], studies=800)
    assert 0.925 <= scores <= 0.98
    assert 0.93 <= gains <= 0.98


def test_correlated_seeds_do_not_make_differences_overconfident() -> None:
    _, gains = _coverage([3, 3, 3, 3], shared=0.6)
    assert gains >= 0.93


def test_intervals_of_losses_cover_the_truth() -> None:
    source, covered = np.random.default_rng(5), []
    for _ in range(400):
        examples = source.normal(0.0, 0.5, 60)
        scores = {
            str(t): 2.0 + examples + source.normal(0, 0.1, (3, 1)) + source.normal(0, 0.3, (3, 60)) for t in range(3)
        }
        covered += [e.low <= 2.0 <= e.high for e in mean_intervals(fit_crossed(scores), 0.95)]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_the_base_has_no_seed_variance() -> None:
    source = np.random.default_rng(6)
    scores = {str(t): (source.random((3, 300)) < 0.4 + source.normal(0, 0.1, (3, 1))).astype(float) for t in range(3)}
    base = (source.random((1, 300)) < 0.4).astype(float)
    crossed = fit_crossed({**scores, "base": base}, fixed=["base"])
    assert crossed.seed_variance[3] == 0.0
    assert (crossed.seed_variance[:3] > 0.0).all()
    interval = mean_intervals(crossed, 0.95)[3]
    wanted = stats.binomtest(int(base.sum()), 300).proportion_ci(0.95, method="wilson")
    assert interval.interval == pytest.approx([wanted.low, wanted.high], abs=1e-3)


def test_an_unsteady_method_is_flagged_and_widens_mostly_its_own_interval() -> None:
    source = np.random.default_rng(7)
    rates = {str(t): np.full(3, 0.5) for t in range(7)} | {"unsteady": np.array([0.65, 0.55, 0.33])}
    crossed = fit_crossed(
        {name: (source.random((3, 500)) < rate[:, None]).astype(float) for name, rate in rates.items()}
    )
    *steady, unsteady = mean_intervals(crossed, 0.95)
    assert crossed.unsteady.tolist() == [False] * 7 + [True]
    assert all(e.high - e.low < 0.6 * (unsteady.high - unsteady.low) for e in steady)
    assert unsteady.low < 0.35


def test_a_method_fitted_alone_does_not_widen_other_intervals() -> None:
    source = np.random.default_rng(7)
    rates = {str(t): np.full(3, 0.5) for t in range(7)} | {"mixed": np.array([0.6, 0.55, 0.05])}
    scores = {name: (source.random((3, 500)) < rate[:, None]).astype(float) for name, rate in rates.items()}
    *steady, mixed = mean_intervals(fit_crossed(scores, alone=["mixed"]), 0.95)
    assert np.median([e.high - e.low for e in steady]) < 0.08
    assert mixed.low < 0.1


def test_shared_seed_effects_are_removed_from_differences_between_methods() -> None:
    source, found, widths = np.random.default_rng(11), [], []
    for shared in (0.0, 0.8):
        studies = [_answers(source, [3] * 8, shared=shared) for _ in range(60)]
        found.append(np.mean([study.correlation or 0.0 for study in studies]))
        gains = [g for s in studies for g in gains_of(s, "0", sign=1.0, level=0.95).values()]
        widths.append(np.mean([g.high - g.low for g in gains]))
    assert found[0] < 0.2
    assert found[1] > 0.5
    assert widths[1] < 0.7 * widths[0]


def test_seeds_that_are_not_the_same_are_not_taken_as_shared() -> None:
    source = np.random.default_rng(12)
    luck = source.normal(0.0, 0.06, (3, 1))
    scores = {str(t): (source.random((3, 400)) < 0.5 + luck).astype(float) for t in range(6)}
    apart = {str(t): [3 * t, 3 * t + 1, 3 * t + 2] for t in range(6)}
    assert fit_crossed(scores).correlation > 0.5
    assert fit_crossed(scores, seeds=apart).correlation is None


def test_a_proportion_near_zero_borrows_little_seed_variance_from_others() -> None:
    source = np.random.default_rng(8)
    scores = {str(t): (source.random((3, 500)) < 0.5 + source.normal(0, 0.08, (3, 1))).astype(float) for t in range(5)}
    crossed = fit_crossed({**scores, "low": (source.random((3, 500)) < 0.02).astype(float)})
    *_, low = mean_intervals(crossed, 0.95)
    assert low.low > 0.0
    assert low.high < 0.08


def test_the_simulated_seed_variance_is_recovered() -> None:
    source = np.random.default_rng(9)
    found = [_answers(source, [5] * 8).seed_variance.mean() for _ in range(40)]
    assert np.sqrt(np.mean(found)) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_method_with_constant_answers_borrows_no_seed_variance(answer: float) -> None:
    source = np.random.default_rng(10)
    steady = {str(t): (source.random((2, 40)) < rate).astype(float) for t, rate in enumerate((0.1, 0.9))}
    interval = mean_intervals(fit_crossed({**steady, "flat": np.full((2, 40), answer)}), 0.95)[2].interval
    wanted = stats.binomtest(int(40 * answer), 40).proportion_ci(0.95, method="wilson")
    assert interval == pytest.approx([wanted.low, wanted.high], abs=1e-3)
