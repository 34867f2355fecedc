"""Bounds on paired proportions: published values, exact coverage by enumeration, and the sizes that sets must have."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from timbre.statistics import (
    certifiable_margin,
    clustered_bound,
    clustered_tango_bound,
    items_needed,
    superiority,
    tango_bound,
    three_way,
    upper_bound_rate,
)
from timbre.statistics.paired import _tango_low


def test_score_bound_solves_its_own_equation() -> None:
    """At the bound, (b − c − nΔ)/sqrt(n(2q + Δ(1 − Δ))) is the normal quantile, with q the root of Tango's quadratic."""
    wins, losses, n = 40.0, 60.0, 800.0
    delta = tango_bound(wins, losses, n).low
    linear, constant = -wins - losses + (2 * n - wins + losses) * delta, -losses * delta * (1 - delta)
    q = (math.sqrt(linear**2 - 8 * n * constant) - linear) / (4 * n)
    z = (wins - losses - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))
    assert z == pytest.approx(1.6448536, abs=1e-5)


def test_score_bound_agrees_with_a_published_example() -> None:
    """Tango 1998, crossover of soft lenses: 44 pairs, 1 against 0 discordant; the two-sided 95% interval is (−.0600, .1180)."""
    low, high = _tango_low(1, 0, 44, 0.975), -_tango_low(0, 1, 44, 0.975)
    assert (low, high) == pytest.approx((-0.0600, 0.1180), abs=2e-3)


@pytest.mark.parametrize(("n", "delta"), [(30, 0.1), (60, 0.05)])
def test_exact_bound_never_passes_more_than_five_in_a_hundred(n: int, delta: float) -> None:
    """Enumerated, not simulated: for every discordance the chance that the bound lies above the true difference of −delta."""
    low = {(b, c): tango_bound(b, c, n).low for b, c in product(range(9), range(18)) if b + c <= n}
    for discordance in np.linspace(delta, 0.18, 8):
        win, loss = (discordance - delta) / 2, (discordance + delta) / 2
        outcomes = stats.multinomial(n, [win, loss, 1 - win - loss])
        seen = {pair: float(outcomes.pmf([*pair, n - sum(pair)])) for pair in low}
        unseen = 1 - sum(seen.values())
        assert sum(weight for pair, weight in seen.items() if low[pair] > -delta) <= 0.05 + unseen + 1e-9


def test_score_bound_at_the_margin_passes_about_five_in_a_hundred() -> None:
    """Where 60 pairs or more disagree: 1,000 pairs, 10% discordance, margin 3 points. .5 points of room for the normal form."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(1000, [0.035, 0.065, 0.9], size=4000)
    passed = np.mean([tango_bound(wins, losses, 1000).low > -0.03 for wins, losses, _ in drawn if wins + losses >= 60])
    assert passed <= 0.05 + 0.005 + 2.33 * math.sqrt(0.05 * 0.95 / 4000)


def test_no_disagreement_still_leaves_the_rule_of_three() -> None:
    assert tango_bound(0, 0, 300).low == pytest.approx(-3 / 300, rel=0.02)


def test_same_set_told_either_way_round() -> None:
    one, other = tango_bound(5, 12, 200), tango_bound(12, 5, 200)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(30, 120))
def test_more_losses_never_raise_the_bound(wins: int, losses: int, n: int) -> None:
    bound, worse = tango_bound(wins, losses, n), tango_bound(wins, losses + 1, n)
    assert bound.low <= bound.mean <= bound.high
    assert worse.low <= bound.low + 1e-6 and worse.high <= bound.high + 1e-6


@pytest.mark.parametrize("counts", [(-1, 0, 10), (6, 6, 10), (math.nan, 0, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(counts: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="paired counts"):
        tango_bound(*counts)


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_wordings_of_one_fact_do_not_count_as_facts(together: float) -> None:
    """60 facts, 3 wordings each, that flip together or not; the truth stands on the margin of 5 points: at most 5 in 100 pass."""
    rng, runs = np.random.default_rng(5), 250
    index = np.repeat(np.arange(60), 3)
    passed = 0
    for _ in range(runs):
        shared, own = (rng.choice([-1.0, 0.0, 1.0], size=size, p=[0.075, 0.9, 0.025]) for size in (60, 180))
        flips = np.where(rng.random(180) < together, shared[index], own)
        passed += clustered_tango_bound(flips.tolist(), index.tolist()).low > -0.05
    assert passed / runs <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / runs)


def test_clusters_without_any_disagreement_count_as_one_item_each() -> None:
    bound = clustered_tango_bound([0.0] * 180, [item // 3 for item in range(180)])
    assert bound.low == pytest.approx(tango_bound(0, 0, 60).low)
    assert (bound.n, bound.clusters) == (180, 60)


def test_what_is_not_binary_is_refused() -> None:
    with pytest.raises(ValueError, match=r"differences\[1\]"):
        clustered_tango_bound([0.0, 0.5], ["a", "b"])


def test_three_verdicts() -> None:
    assert three_way(-0.01, 0.03, margin=0.02) == "PASS"
    assert three_way(-0.02, 0.03, margin=0.02) == "INCONCLUSIVE"
    assert three_way(-0.05, -0.02, margin=0.02) == "INCONCLUSIVE"
    assert three_way(-0.05, -0.021, margin=0.02) == "FAIL"
    assert three_way(-math.inf, math.inf, margin=0.02) == "INCONCLUSIVE"
    with pytest.raises(ValueError, match="bounds"):
        three_way(math.nan, 0.0, 0.02)
    with pytest.raises(ValueError, match="margin"):
        three_way(-0.1, 0.1, math.inf)


def test_no_difference_is_no_improvement() -> None:
    nothing = clustered_bound([0.0] * 30)
    assert superiority(nothing.low, nothing.high) == "FAIL"
    assert superiority(0.01, 0.2) == "PASS"
    assert superiority(-0.01, 0.2) == "INCONCLUSIVE"
    with pytest.raises(ValueError, match="bounds"):
        superiority(math.nan, math.nan)


def test_set_sizes_of_ten_percent_discordance() -> None:
    assert [items_needed(0.1, margin) for margin in (0.01, 0.02, 0.03)] == [6183, 1546, 687]


def test_certified_margin_and_set_size_are_the_same_statement() -> None:
    """A set of the size that 2 points need says of itself that it certifies 2 points."""
    n = items_needed(0.1, 0.02)
    assert certifiable_margin(tango_bound(n // 20, n // 20, n)) == pytest.approx(0.02, rel=0.02)


def test_rate_of_nothing_seen() -> None:
    assert upper_bound_rate(0, 1000) == pytest.approx(3 / 1000, rel=0.01)
    assert upper_bound_rate(4, 4) == 1.0
    with pytest.raises(ValueError, match="0 ≤ k ≤ n"):
        upper_bound_rate(5, 4)
