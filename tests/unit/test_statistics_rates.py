"""Shares, claims and set sizes: as exact, as careful and as large as they say. Simulations argue their Monte-Carlo error."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from timbre.statistics import (
    Interval,
    certifiable_margin,
    clustered_bound,
    clustered_tango_bound,
    items_that_would_do,
    rate_bound,
    superiority_claims,
    three_way,
    upper_bound_rate,
)


def slack(rate: float, runs: int) -> float:
    """99% of simulations of this rate stay below it by that much."""
    return 2.33 * math.sqrt(rate * (1 - rate) / runs)


def test_no_hit_leaves_the_rule_of_three() -> None:
    assert rate_bound([0.0] * 64).high == pytest.approx(3 / 64, rel=0.03)
    assert rate_bound([0.0] * 64).low == 0.0
    assert rate_bound([1.0] * 64).low == pytest.approx(1 - 3 / 64, rel=0.003)


@pytest.mark.parametrize(("k", "n"), [(1, 16), (7, 40), (39, 40), (20, 40)])
def test_independent_texts_get_the_exact_bounds(k: int, n: int) -> None:
    bound = rate_bound([1.0] * k + [0.0] * (n - k))
    assert bound.high == pytest.approx(upper_bound_rate(k, n), rel=0.02)
    assert bound.low == pytest.approx(1 - upper_bound_rate(n - k, n), rel=0.02)


@pytest.mark.parametrize("truth", [0.05, 0.9])
def test_upper_bound_is_below_the_truth_at_most_five_times_in_a_hundred_enumerated(truth: float) -> None:
    """No simulation: every outcome of 64 texts with its probability; .1 points of room for the n/(n−1) of the design effect."""
    n = 64
    missed = sum(
        float(stats.binom.pmf(k, n, truth)) for k in range(n + 1) if rate_bound([1.0] * k + [0.0] * (n - k)).high < truth
    )  # fmt: skip
    assert missed <= 0.05 + 0.001


def test_texts_of_one_document_that_go_wrong_together_count_less() -> None:
    """30 documents of 4 texts that share their fate seven times in ten: the bound misses a true 10% in at most 5 of 100."""
    rng, runs, missed = np.random.default_rng(0), 600, 0
    names = np.repeat(np.arange(30), 4)
    for _ in range(runs):
        shared, own = rng.random(30) < 0.1, rng.random(120) < 0.1
        hits = np.where(rng.random(120) < 0.7, shared[names], own)
        missed += rate_bound(hits.astype(float).tolist(), names.tolist()).high < 0.1
    assert missed / runs <= 0.05 + slack(0.05, runs)


def test_one_document_says_nothing_about_others() -> None:
    assert (rate_bound([0.0, 0.0], ["a", "a"]).low, rate_bound([0.0, 0.0], ["a", "a"]).high) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "complaint"), [([], "non-empty"), ([0.5], r"hits\[0\]"), ([0.0, math.nan], r"hits\[1\]")])
def test_what_is_no_share_is_refused(hits: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        rate_bound(hits)


def _t_bound(mean: float) -> Callable[[float], float]:
    return lambda confidence: mean - float(stats.norm.ppf(confidence))


def _low_of(values: np.ndarray) -> Callable[[float], float]:
    return lambda confidence: clustered_bound(values, confidence=confidence).low


def test_holm_claims_are_those_of_its_p_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        z = rng.normal(1.5, 1.2, 6)
        p = np.sort(1 - stats.norm.cdf(z))
        passed = 0
        while passed < 6 and p[passed] < 0.05 / (6 - passed):
            passed += 1
        bounds = {str(index): _t_bound(float(value)) for index, value in enumerate(z)}
        assert len(superiority_claims(bounds)) == passed


def test_of_eight_candidates_that_are_no_better_one_is_claimed_in_five_of_a_hundred_runs() -> None:
    """Correlated metrics of one set of texts, true differences zero; without the correction 20 to 34 of 100 would claim something."""
    rng, runs = np.random.default_rng(2), 400
    wrong = uncorrected = 0
    for _ in range(runs):
        values = 0.5 * rng.normal(size=(40, 1)) + rng.normal(size=(40, 8))
        bounds = {str(k): _low_of(values[:, k]) for k in range(8)}
        wrong += bool(superiority_claims(bounds))
        uncorrected += any(bound(0.95) > 0 for bound in bounds.values())
    assert wrong / runs <= 0.05 + slack(0.05, runs)
    assert uncorrected / runs > 0.15


def test_claims_need_a_level() -> None:
    assert superiority_claims({}) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        superiority_claims({}, level=1.0)


def test_the_number_of_items_that_would_do_is_the_one_that_does() -> None:
    """A set that is too small says how many items it takes; sets of that size pass four times in five (± Monte Carlo and 3
    points for estimating the spread), and of those whose truth stands on the margin one in twenty."""
    rng, margin, runs = np.random.default_rng(3), 0.15, 500

    def draw(clusters: int, mean: float) -> tuple[np.ndarray, list[int]]:
        names = np.repeat(np.arange(clusters), 3)
        return mean + 0.4 * rng.normal(size=clusters)[names] + 0.8 * rng.normal(size=len(names)), names.tolist()

    said = [items_that_would_do(clustered_bound(*draw(30, 0.0)), margin) for _ in range(60)]
    wanted = float(np.median([count for count in said if count is not None]))
    clusters = round(wanted / 3)
    equal = [clustered_bound(*draw(clusters, 0.0)) for _ in range(runs)]
    passed = np.mean([three_way(bound.low, bound.high, margin) == "PASS" for bound in equal])
    assert abs(passed - 0.80) <= slack(0.8, runs) + 0.03
    wrong = np.mean([clustered_bound(*draw(clusters, -margin)).low > -margin for _ in range(runs)])
    assert wrong <= 0.05 + slack(0.05, runs)


def test_no_number_of_items_helps_where_nothing_can_be_told() -> None:
    assert items_that_would_do(clustered_bound([1.0, 2.0], ["a", "a"]), 0.1) is None
    assert items_that_would_do(clustered_bound([1.0, 2.0, 3.0]), -0.1) is None


def test_wordings_in_clusters_have_the_power_that_they_print() -> None:
    """Binary, three wordings a fact, 6% of the facts flip: of such sets four in five pass the margin that they print on average
    (ten points of room: 7 facts that flip make a coarse scale), and on that margin at most 5 in 100 are passed."""
    rng, index, runs = np.random.default_rng(4), np.repeat(np.arange(120), 3), 120

    def drawn(difference: float) -> Interval:
        p = [0.03 - difference, 0.94 + difference, 0.03]
        return clustered_tango_bound(rng.choice([-1.0, 0.0, 1.0], size=120, p=p)[index].tolist(), index.tolist())

    equal = [drawn(0.0) for _ in range(runs)]
    margin = float(np.mean([certifiable_margin(bound) for bound in equal]))
    assert abs(np.mean([bound.low > -margin for bound in equal]) - 0.80) <= slack(0.8, runs) + 0.10
    assert np.mean([drawn(-margin).low > -margin for _ in range(runs)]) <= 0.05 + slack(0.05, runs)
