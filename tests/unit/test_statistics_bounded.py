"""Bounds on differences of shares: honest where a small sample has not shown the worst."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.statistics import bounded_bound, clustered_bound

RUNS = 400
TOLERANCE = 2.33 * math.sqrt(0.05 * 0.95 / RUNS)
"""99% of simulations of a true 5% stay below .05 + .025."""
Draw = Callable[[np.random.Generator, int], np.ndarray]
LOSSES: dict[str, tuple[Draw, float]] = {
    "one in twenty is lost whole": (lambda chance, n: (chance.random(n) < 0.05) * 1.0, 0.05),
    "one in ten is lost in part": (lambda chance, n: (chance.random(n) < 0.1) * chance.random(n), 0.05),
    "noise, and one in fifty recited": (
        lambda chance, n: np.where(chance.random(n) < 0.02, 0.9, chance.beta(1, 30, n)),
        0.02 * 0.9 + 0.98 / 31,
    ),
    "evenly": (lambda chance, n: chance.random(n), 0.5),
}


@pytest.mark.parametrize("clusters", [10, 30, 60])
@pytest.mark.parametrize("name", LOSSES)
def test_at_the_margin_at_most_five_in_a_hundred_pass(name: str, clusters: int) -> None:
    draw, mean = LOSSES[name]
    chance = np.random.default_rng(clusters)
    names = np.arange(clusters).repeat(2).tolist()
    passed = [bounded_bound(-draw(chance, clusters).repeat(2), names).low > -mean for _ in range(RUNS)]
    assert np.mean(passed) <= 0.05 + TOLERANCE


def test_the_spread_alone_would_let_far_more_pass() -> None:
    """Why this bound is there."""
    draw, mean = LOSSES["one in twenty is lost whole"]
    chance = np.random.default_rng(0)
    assert np.mean([clustered_bound(-draw(chance, 30)).low > -mean for _ in range(RUNS)]) > 0.15


def test_nothing_seen_is_the_exact_bound_on_a_rate() -> None:
    for clusters in (2, 19, 59):
        found = bounded_bound([0.0] * clusters)
        assert -found.low == pytest.approx(1 - 0.05 ** (1 / clusters)) == pytest.approx(found.high)
    assert bounded_bound([0.0] * 59).low > -0.05 > bounded_bound([0.0] * 58).low
    assert bounded_bound([0.0] * 40, ["a"] * 40) == bounded_bound([0.0], ["a"], 0.95).__class__(0.0, -1.0, 1.0, 40, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_it_is_symmetric_and_never_narrower_than_the_spread_says(values: list[float]) -> None:
    found, mirrored, spread = bounded_bound(values), bounded_bound([-value for value in values]), clustered_bound(values)
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
    assert -1 <= found.low <= max(spread.low, -1) and min(spread.high, 1) <= found.high <= 1
    assert found.low <= bounded_bound(values, confidence=0.9).low, "more confidence, a lower bound: what Holm needs"


def test_what_is_no_difference_of_shares_is_refused() -> None:
    with pytest.raises(ValueError, match=r"differences\[1\] is 1.5; of two shares it lies in"):
        bounded_bound([0.0, 1.5])
    with pytest.raises(ValueError, match="not a number"):
        bounded_bound([0.0, math.nan])
