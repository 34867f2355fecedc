"""Areas under the ROC curve: by hand where they can be counted, by simulation where they are intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.statistics.roc import clustered_auc, count_that_would_do, null_error, placements, roc_auc

scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=20)


@given(scores, scores)
def test_the_area_is_the_share_of_pairs_in_the_right_order(first: list[float], second: list[float]) -> None:
    pairs = [float(a > b) + 0.5 * float(a == b) for a in first for b in second]
    assert roc_auc(first, second) == pytest.approx(np.mean(pairs))
    high, low = placements(first, second)
    assert high.mean() == pytest.approx(low.mean()) and roc_auc(second, first) == pytest.approx(1 - roc_auc(first, second))


def test_more_copies_of_the_same_documents_add_no_evidence() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.5, 1, 40), rng.normal(0, 1, 40)
    documents = [f"d{n % 20}" for n in range(40)]
    once = clustered_auc(first, second, documents, documents)
    many = clustered_auc(
        np.repeat(first, 5), np.repeat(second, 5), [d for d in documents for _ in range(5)], [d for d in documents for _ in range(5)]
    )
    assert (many.mean, many.low, many.high) == pytest.approx((once.mean, once.low, once.high))
    assert many.clusters == once.clusters == 20


def test_the_interval_holds_the_true_area_of_documents_that_move_together() -> None:
    """Φ(1/√2·√(1/(1+.5))) of scores whose documents share half a standard deviation; the interval claims 95 of 100."""
    rng, inside, runs = np.random.default_rng(1), 0, 150
    true = 0.5 * (1 + math.erf(0.8 / math.sqrt(2 * 1.25) / math.sqrt(2)))
    for _ in range(runs):
        shift = rng.normal(0, 0.5, 24)
        index = np.repeat(np.arange(24), 5)
        first, second = rng.normal(0.8, 1, 120) + shift[index], rng.normal(0, 1, 120) + rng.normal(0, 0.5, 24)[index]
        found = clustered_auc(first, second, index.tolist(), index.tolist())
        inside += found.low <= true <= found.high
    assert inside / runs >= 0.95 - 2.33 * math.sqrt(0.05 * 0.95 / runs)


def test_one_document_has_no_interval_and_power_is_what_is_known() -> None:
    alone = clustered_auc([1.0, 2.0], [0.0, 1.5], ["a", "a"], ["a", "a"])
    assert alone.mean == 0.75 and math.isinf(alone.low) and math.isinf(alone.high)
    assert null_error(216, 216) == pytest.approx(0.028, abs=5e-4) and null_error(1000, 1000) == pytest.approx(0.013, abs=5e-4)
    assert count_that_would_do(0.5) is None and count_that_would_do(0.4) is None
    count = count_that_would_do(0.57)
    assert count is not None and 0.07 / null_error(count, count) == pytest.approx(1.645 + 0.842, abs=0.01)
