"""Intervals by resampling cover what they say, and whole gates err and succeed as often as they promise."""

import math

import numpy as np
import pytest

from timbre.statistics import (
    bootstrap_interval,
    certifiable_margin,
    clustered_bound,
    half_sample_interval,
    half_samples,
    items_needed,
    pseudo_values,
    tango_bound,
    three_way,
)

RUNS = 400


def slack(rate: float, runs: int) -> float:
    """99% of simulations of this rate stay within it."""
    return 2.58 * math.sqrt(rate * (1 - rate) / runs)


@pytest.mark.parametrize(("clusters", "size"), [(12, 5), (60, 1)])
def test_bootstrap_over_prompts_covers_the_mean_of_the_population(clusters: int, size: int) -> None:
    rng, hit = np.random.default_rng(clusters), 0
    names = np.repeat(np.arange(clusters), size).tolist()
    for run in range(RUNS):
        values = rng.normal(size=clusters)[names] + 0.5 * rng.normal(size=len(names))
        interval = bootstrap_interval(values, names, seed=run)
        hit += interval.low <= 0 <= interval.high
    assert abs(hit / RUNS - 0.95) <= slack(0.95, RUNS) + 0.01  # a percent for what 12 clusters cannot show


def test_half_samples_of_a_mean_scatter_by_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    halves, factor = half_samples(200, 4000)
    scatter = pseudo_values(values.mean(), np.array([values[half].mean() for half in halves]), factor)
    # Without replacement the n of the sample variance is n − 1; 4,000 draws know a deviation to 1.1%.
    assert scatter.std() == pytest.approx(values.std(ddof=1) / math.sqrt(200), rel=0.04)
    assert scatter.mean() == pytest.approx(values.mean())


def test_half_sample_interval_covers_a_figure_that_duplicates_would_bias() -> None:
    """Distinct over drawn words: a bootstrap puts copies side by side and never covers; halves do."""
    rng, hit, truth, runs = np.random.default_rng(3), 0, [], 120

    def figure(rows: np.ndarray) -> float:
        return len(np.unique(rows)) / math.sqrt(rows.size)

    samples = [rng.zipf(1.5, (60, 30)).clip(0, 4000) for _ in range(runs)]
    truth = float(np.mean([figure(sample) for sample in samples]))
    for sample in samples:
        halves, factor = half_samples(60, 60)
        interval = half_sample_interval(figure(sample), np.array([figure(sample[half]) for half in halves]), factor, 60, 60)
        hit += interval.low <= truth <= interval.high
    # What a half knows of such a figure is not quite linear in the texts: five points below 95% are allowed, beside chance.
    assert hit / runs >= 0.90 - slack(0.9, runs)


def test_halves_are_of_whole_documents() -> None:
    halves, factor = half_samples(["a", "a", "a", "b", "c", "c"], 50)
    for half in halves:
        chosen = set(half.tolist())
        assert all(group <= chosen or not group & chosen for group in ({0, 1, 2}, {3}, {4, 5}))
    assert factor == pytest.approx(math.sqrt(1 / 2))
    with pytest.raises(ValueError, match="two prompts"):
        half_samples(["a", "a"], 5)


def test_one_document_gives_no_interval() -> None:
    assert bootstrap_interval([1.0, 2.0], ["a", "a"]).low == -math.inf


@pytest.mark.parametrize(("margin", "runs"), [(0.02, 1500), (0.03, 250)])  # the exact form, below 60 pairs that disagree, is slow
def test_a_set_of_the_stated_size_passes_and_errs_as_often_as_stated(margin: float, runs: int) -> None:
    """10% discordance: an equal candidate passes four times in five, one that stands on the margin one time in twenty."""
    n, rng = items_needed(0.1, margin), np.random.default_rng(7)

    def passes(difference: float) -> float:
        win, loss = (0.1 + difference) / 2, (0.1 - difference) / 2
        drawn = rng.multinomial(n, [win, loss, 0.9], size=runs)
        bounds = (tango_bound(wins, losses, n) for wins, losses, _ in drawn)
        return float(np.mean([three_way(bound.low, bound.high, margin) == "PASS" for bound in bounds]))

    assert abs(passes(0.0) - 0.80) <= slack(0.8, runs) + 0.02  # the size is from the normal approximation
    assert passes(-margin) <= 0.05 + slack(0.05, runs) + 0.005  # and so is the score bound, by half a point


def test_certified_margin_is_the_one_that_such_sets_pass_four_times_in_five() -> None:
    rng, clusters = np.random.default_rng(11), np.repeat(np.arange(60), 4).tolist()

    def draw(mean: float) -> np.ndarray:
        drawn: np.ndarray = mean + 0.5 * rng.normal(size=60)[clusters] + rng.normal(size=240)
        return drawn

    margin = float(np.mean([certifiable_margin(clustered_bound(draw(0.0), clusters)) for _ in range(40)]))
    bounds = [clustered_bound(draw(0.0), clusters) for _ in range(RUNS)]
    power = np.mean([three_way(bound.low, bound.high, margin) == "PASS" for bound in bounds])
    assert abs(power - 0.80) <= slack(0.8, RUNS) + 0.03  # the wider of two bounds gives away a little
    wrong = np.mean([clustered_bound(draw(-margin), clusters).low > -margin for _ in range(RUNS)])
    assert wrong <= 0.05 + slack(0.05, RUNS)
