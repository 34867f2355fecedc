"""Bounds on means in clusters: right where they can be checked by hand, honest at the margin where they are simulated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from timbre.statistics import clustered_bound

RUNS = 800
TOLERANCE = 2.33 * math.sqrt(0.05 * 0.95 / RUNS)
"""99% of simulations of a true 5% stay below .05 + .018."""


def test_without_clusters_it_is_the_one_sided_t_bound() -> None:
    values = np.random.default_rng(0).normal(size=500)
    bound = clustered_bound(values)
    reach = stats.t.ppf(0.95, 499) * values.std(ddof=1) / math.sqrt(500)
    assert (bound.mean, bound.low, bound.high) == pytest.approx((values.mean(), values.mean() - reach, values.mean() + reach), rel=1e-9)
    assert (bound.n, bound.clusters) == (500, 500)


def test_copies_of_an_item_add_no_evidence() -> None:
    values = np.random.default_rng(1).normal(size=20)
    once, copied = clustered_bound(values), clustered_bound(np.repeat(values, 50), np.repeat(np.arange(20), 50).tolist())
    assert (once.low, once.high) == pytest.approx((copied.low, copied.high), rel=1e-9)
    assert clustered_bound(np.repeat(values, 50)).low > copied.low


def test_weights_are_tokens() -> None:
    """A passage of 3 tokens counts like three passages of one token, all in the same document."""
    weighted = clustered_bound([1.0, 2.0, 4.0], ["a", "b", "c"], weights=[3, 1, 2])
    spelled = clustered_bound([1, 1, 1, 2, 4, 4], ["a", "a", "a", "b", "c", "c"])
    assert (weighted.mean, weighted.low, weighted.high) == pytest.approx((spelled.mean, spelled.low, spelled.high))


@pytest.mark.parametrize("kind", ["equal", "uneven", "one holds 40%"])
@pytest.mark.parametrize("clusters", [10, 25, 60])
def test_at_the_margin_at_most_five_in_a_hundred_pass(clusters: int, kind: str) -> None:
    rng = np.random.default_rng(clusters)
    passed = 0
    for _ in range(RUNS):
        sizes = {
            "equal": np.full(clusters, 5),
            "uneven": np.ceil(rng.lognormal(1.2, 0.8, clusters)),
            "one holds 40%": np.full(clusters, 5),
        }[kind]
        if kind == "one holds 40%":
            sizes[0] = round(5 * (clusters - 1) * 0.4 / 0.6)
        index = np.repeat(np.arange(clusters), sizes.astype(int))
        values = 0.6 * rng.normal(size=clusters)[index] + 0.8 * rng.normal(size=len(index))
        passed += clustered_bound(values, index.tolist()).low > 0  # the true mean stands on the margin
    assert passed / RUNS <= 0.05 + TOLERANCE


def test_skewed_losses_pass_at_most_five_in_a_hundred() -> None:
    """Rare large losses are what a symmetric bound overlooks: 60 items, exponential tail on the side of harm."""
    rng = np.random.default_rng(3)
    passed = sum(clustered_bound(1 - rng.exponential(size=60)).low > 0 for _ in range(RUNS))
    assert passed / RUNS <= 0.05 + TOLERANCE


def test_power_is_what_the_normal_theory_says() -> None:
    """A margin of (z.95 + z.80) standard errors is certified 80 times in 100, less what estimating the spread from 60 costs."""
    rng, margin = np.random.default_rng(4), (1.6449 + 0.8416) / math.sqrt(60)
    passed = sum(clustered_bound(rng.normal(size=60)).low > -margin for _ in range(RUNS))
    assert 0.74 <= passed / RUNS <= 0.84


def test_one_cluster_says_nothing() -> None:
    bound = clustered_bound([1.0, 2.0, 3.0], ["a", "a", "a"])
    assert (bound.low, bound.high, bound.clusters) == (-math.inf, math.inf, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_hole_is_named_by_its_index(bad: float) -> None:
    with pytest.raises(ValueError, match=r"differences\[2\]"):
        clustered_bound([0.0, 1.0, bad, 2.0])


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="non-empty"):
        clustered_bound([])
    with pytest.raises(ValueError, match="2 entries for 3 items"):
        clustered_bound([1.0, 2.0, 3.0], ["a", "b"])
    with pytest.raises(ValueError, match="weights must be positive"):
        clustered_bound([1.0, 2.0], weights=[1.0, 0.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 9)), min_size=2, max_size=60), st.floats(0.1, 50), st.floats(-20, 20))
def test_bounds_move_and_stretch_with_the_data(rows: list[tuple[float, int]], scale: float, shift: float) -> None:
    values, clusters = np.array([value for value, _ in rows]), [cluster for _, cluster in rows]
    plain, moved = clustered_bound(values, clusters), clustered_bound(scale * values + shift, clusters)
    assert plain.low <= plain.mean <= plain.high
    if math.isfinite(plain.low):
        room = 1e-6 * (1 + scale * float(np.abs(values).max()) + abs(shift))
        assert moved.low == pytest.approx(scale * plain.low + shift, abs=room)
        assert moved.high == pytest.approx(scale * plain.high + shift, abs=room)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 9)), min_size=2, max_size=60))
def test_turning_the_sign_turns_the_bounds(rows: list[tuple[float, int]]) -> None:
    values, clusters = np.array([value for value, _ in rows]), [cluster for _, cluster in rows]
    plain, turned = clustered_bound(values, clusters), clustered_bound(-values, clusters)
    assert (turned.low, turned.high) == pytest.approx((-plain.high, -plain.low), abs=1e-9)
