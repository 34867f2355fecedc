"""Exact intervals of preferences, and agreement between raters, against published values and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from timbre.statistics import clopper_pearson, clustered_proportion, krippendorff_alpha

# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", section C: four observers, twelve units, missing values.
_PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_alpha_is_the_published_one_on_every_scale() -> None:
    units = [list(unit) for unit in zip(*_PUBLISHED, strict=True)]
    for scale, published in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        found = krippendorff_alpha(units, scale)  # type: ignore[arg-type]
        assert found is not None and found.mean == pytest.approx(published, abs=5e-4)
        assert found.low < found.mean < found.high <= 1 and found.n == 11


def test_alpha_says_nothing_where_nothing_can_be_said() -> None:
    assert krippendorff_alpha([[1, None], [None, 2]], "nominal") is None
    assert krippendorff_alpha([[1, 1], [1, 1]], "ordinal") is None
    one = krippendorff_alpha([[1, 1], [2, 2]], "nominal", clusters=["a", "a"])
    assert one is not None and one.mean == 1 and math.isinf(one.low)
    with pytest.raises(ValueError, match="one row an item"):
        krippendorff_alpha([[1, 2], [1]], "nominal")


@given(st.lists(st.lists(st.sampled_from([1, 2, 3, None]), min_size=3, max_size=3), min_size=2, max_size=12), st.randoms())
def test_alpha_knows_neither_raters_nor_the_order_of_items(ratings: list[list[float | None]], chance: object) -> None:
    turned = [list(reversed(row)) for row in reversed(ratings)]
    ours, theirs = krippendorff_alpha(ratings, "ordinal"), krippendorff_alpha(turned, "ordinal")
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert ours.mean == pytest.approx(theirs.mean, abs=1e-9) and ours.mean <= 1 + 1e-12


def test_alpha_interval_covers_the_truth() -> None:
    """Two raters copy a fair coin with probability a each, so nominal alpha is a²; 200 studies of 40 items in 20 clusters."""
    rng, hits, studies = np.random.default_rng(1), 0, 200
    for study in range(studies):
        truth = rng.integers(0, 2, 40)
        copies = [np.where(rng.random(40) < 0.8, truth, rng.integers(0, 2, 40)) for _ in range(2)]
        found = krippendorff_alpha(
            list(zip(*(copy.tolist() for copy in copies), strict=True)), "nominal", [item // 2 for item in range(40)], seed=study
        )
        assert found is not None
        hits += found.low <= 0.64 <= found.high
    assert hits >= stats.binom.ppf(0.001, studies, 0.95)


def test_exact_interval_is_the_known_one() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (7, 50), (81, 263)):
        known = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert clopper_pearson(k, n) == pytest.approx((known.low, known.high), abs=1e-10)
    assert clopper_pearson(0, 10)[1] == pytest.approx(0.3085, abs=5e-5)  # 1 − 0.025^(1/10)
    with pytest.raises(ValueError, match="0 ≤ k ≤ n"):
        clopper_pearson(3, 2)


def test_independent_answers_give_the_exact_interval_and_clusters_widen_it() -> None:
    values = [1.0] * 14 + [0.0] * 6
    alone = clustered_proportion(values)
    assert (alone.low, alone.high) == pytest.approx(clopper_pearson(14, 20))
    together = clustered_proportion(values, [item // 4 for item in range(20)])
    assert together.low < alone.low and together.high > alone.high
    same = clustered_proportion([1.0] * 20, [item // 4 for item in range(20)])
    assert same.high == 1 and same.low < clopper_pearson(5, 5)[0]
    assert math.isinf(clustered_proportion(values, ["one"] * 20).low)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        clustered_proportion([1.5])


@pytest.mark.parametrize(("rate", "groups"), [(0.5, 12), (0.8, 20), (0.95, 40)])
def test_clustered_proportion_covers_the_truth(rate: float, groups: int) -> None:
    """Win rates in clusters of 1 to 6 that share their mood (a beta distribution), ties among them: 95% or more cover."""
    rng, hits, studies = np.random.default_rng(3), 0, 400
    for _ in range(studies):
        moods = rng.beta(4 * rate, 4 * (1 - rate), groups)
        clusters = np.repeat(np.arange(groups), rng.integers(1, 7, groups))
        answers = (rng.random((2, len(clusters))) < moods[clusters]).mean(0)
        found = clustered_proportion(answers, clusters.tolist())
        hits += found.low <= rate <= found.high
    assert hits >= stats.binom.ppf(0.001, studies, 0.94)
