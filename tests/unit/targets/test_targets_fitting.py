"""The mixture is fitted to the best log score, judged on documents it was not fitted on; human continuations are pooled exactly."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import target_config

from timbre.corpus.passages import Passage
from timbre.targets.continuations import pooled
from timbre.targets.fitting import Components, fit_mixture, fit_shaped, log_scores, temperatures
from timbre.targets.mixture import SparseDistributions, draws_of_target, mix_pooled
from timbre.targets.reference_distribution import Mixture

BLEND = [{"style": name, "weight": 0.5, "sources": [name]} for name in ("a", "b")]


def _components(seed: int, positions: int, mixture: tuple[float, float], grid: int = 1) -> Components:
    """What two references and an n-gram model give to tokens that are drawn from their mixture."""
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(12, 0.4), (3, positions))
    weight, eta = mixture
    confidence = random.uniform(0.3, 1.0, positions)
    share = (eta * confidence)[:, None]
    whole = (1 - share) * (weight * probs[0] + (1 - weight) * probs[1]) + share * probs[2]
    drawn = (random.random(positions)[:, None] > whole.cumsum(axis=1)).sum(axis=1).clip(max=11)
    of = probs[:, np.arange(positions), drawn]
    return Components(np.repeat(of[None, :2], grid, axis=0), of[2], confidence)


def test_fitting_finds_the_mixture_that_the_text_was_drawn_from() -> None:
    """Of 12,000 tokens: the weights come back within a few hundredths, and their intervals hold the truth."""
    config = target_config(fit=("ngram", "blend"), blend=BLEND, ngram_weight=0.05)
    passages = [_components(seed, 1000, (0.7, 0.3)) for seed in range(12)]
    fitted = fit_mixture([passages], [f"d{n}" for n in range(12)], config, Mixture(1.0, (0.5, 0.5), 0.05))
    assert fitted.mixture.weights[0] == pytest.approx(0.7, abs=0.06) and fitted.mixture.ngram_weight == pytest.approx(0.3, abs=0.06)
    eta = fitted.fit.ngram_weight
    assert eta is not None and eta.low is not None and eta.high is not None and eta.low < 0.3 < eta.high
    assert fitted.fit.gain.low is not None and fitted.fit.gain.low > 0
    assert fitted.fit.groups == 10 and len({mixture.ngram_weight for mixture in fitted.without.values()}) == 10


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), true=st.floats(0, 1), other=st.floats(0, 1))
def test_no_other_weight_scores_better_on_the_text_that_was_fitted(seed: int, true: float, other: float) -> None:
    config = target_config(fit=("ngram",))
    parts = _components(seed, 150, (1.0, true))
    parts = Components(parts.refs_GSN[:, :1], parts.ngram_N, parts.confidence_N)
    best = fit_mixture([[parts]], ["d"], config, Mixture(1.0, (1.0,), 0.0)).mixture
    assert log_scores(parts, 0, best).mean() >= log_scores(parts, 0, Mixture(1.0, (1.0,), other)).mean() - 1e-9


def test_ngrams_that_know_nothing_get_no_weight() -> None:
    parts = [Components(np.full((1, 1, 40), 0.5), np.full(40, 0.01), np.full(40, 0.9))] * 3
    fitted = fit_mixture([parts], ["a", "b", "c"], target_config(fit=("ngram",), ngram_weight=0.2), Mixture(1.0, (1.0,), 0.2))
    assert fitted.mixture.ngram_weight == 0 and fitted.fit.gain.mean > 0


def test_the_temperature_is_the_best_of_the_grid_and_the_given_one_is_on_it() -> None:
    config = target_config(fit=("temperature",), temperature=0.93)
    grid = temperatures(config)
    assert 0.93 in grid and temperatures(target_config(temperature=0.93)) == (0.93,)
    best = grid[4]
    scores = np.array([np.exp(-abs(t - best)) for t in grid])[:, None, None] * np.full((1, 1, 30), 0.5)
    parts = Components(scores, np.zeros(30), np.zeros(30))
    fitted = fit_mixture([[parts, parts]], ["a", "b"], config, Mixture(0.93, (1.0,), 0.0))
    assert fitted.mixture.temperature == best and fitted.fit.ngram_weight is None and fitted.fit.blend == {}


BASE, STYLE = (np.random.default_rng(seed).normal(0, 1.5, (4, 60, 14)) for seed in (5, 6))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True)))


def _interpolated(mixture: Mixture, strength: float = 0.4) -> np.ndarray:
    """P ∝ base^(1−s)·style^s of four documents, the style at the mixture's temperature: D×N×V."""
    return _log_softmax((1 - strength) * _log_softmax(BASE) + strength * _log_softmax(STYLE / mixture.temperature))


def test_a_shaped_mixture_is_the_best_of_the_grid_by_the_whole_distribution() -> None:
    """Text drawn from an interpolation with the style at .8: by the style alone a far higher temperature would seem best."""
    config = target_config(fit=("temperature",), strength=0.4)
    random, true = np.random.default_rng(1), np.exp(_interpolated(Mixture(0.8, (1.0,), 0.0)))
    observed = (random.random((4, 60, 1)) > true.cumsum(axis=-1)).sum(axis=-1).clip(max=13)

    def score(mixtures: Sequence[Mixture]) -> list[list[np.ndarray]]:
        whole = np.stack([np.take_along_axis(_interpolated(one), observed[..., None], axis=-1)[..., 0] for one in mixtures])
        return [list(whole.transpose(1, 0, 2))] * 2

    documents = ["a", "b", "c", "d"]
    fitted = fit_shaped(score, documents, config, Mixture(1.0, (1.0,), 0.0))
    grid = [Mixture(temperature, (1.0,), 0.0) for temperature in temperatures(config)]
    totals = [sum(float(values[place].sum()) for values in score(grid)[0]) for place in range(len(grid))]
    assert fitted.mixture == grid[int(np.argmax(totals))]
    for place, name in enumerate(documents):
        others = [total - float(score([one])[0][place].sum()) for total, one in zip(totals, grid, strict=True)]
        assert fitted.without[name] == grid[int(np.argmax(others))], "each document's numbers are fitted without it"
    alone = [float(np.take_along_axis(_log_softmax(STYLE / one.temperature), observed[..., None], axis=-1).sum()) for one in grid]
    assert grid[int(np.argmax(alone))].temperature > fitted.mixture.temperature + 0.2
    assert fitted.fit.groups == 4 and fitted.fit.temperature is not None and fitted.fit.temperature.value == fitted.mixture.temperature


def test_a_shaped_blend_and_its_ngrams_come_back() -> None:
    """Two styles and n-grams, each number moved in turn: within two hundredths of the best, as a brute search has it."""
    config = target_config(fit=("ngram", "blend"), blend=BLEND)
    parts = [_components(seed, 800, (0.7, 0.3)) for seed in range(6)]

    def score(mixtures: Sequence[Mixture]) -> list[list[np.ndarray]]:
        return [[np.stack([log_scores(one, 0, mixture) for mixture in mixtures]) for one in parts]]

    documents = [f"d{n}" for n in range(6)]
    found, exact = (
        fit(*given, documents, config, Mixture(1.0, (0.5, 0.5), 0.0)) for fit, given in ((fit_shaped, (score,)), (fit_mixture, ([parts],)))
    )
    assert found.mixture.weights[0] == pytest.approx(exact.mixture.weights[0], abs=0.02)
    assert found.mixture.ngram_weight == pytest.approx(exact.mixture.ngram_weight, abs=0.02)
    assert found.fit.gain.mean == pytest.approx(exact.fit.gain.mean, abs=1e-3) and found.fit.gain.tokens == 4800
    assert sum(found.mixture.weights) == pytest.approx(1)


def test_one_document_gives_a_fit_without_bounds() -> None:
    parts = _components(1, 50, (1.0, 0.5))
    parts = Components(parts.refs_GSN[:, :1], parts.ngram_N, parts.confidence_N)
    fit = fit_mixture([[parts]], ["d"], target_config(fit=("ngram",)), Mixture(1.0, (1.0,), 0.0)).fit
    assert fit.ngram_weight is not None and fit.ngram_weight.low is None and fit.gain.low is None


def _passage(doc_id: str, tokens: list[int], index: int = 0, first_label: int = 1) -> Passage:
    return Passage(doc_id, index, 0, "someone", np.array(tokens, dtype=np.int32), first_label)


def test_the_same_opening_pools_what_people_wrote_after_it() -> None:
    found = pooled(
        [_passage("a", [1, 2, 3, 4]), _passage("b", [1, 2, 5, 4]), _passage("c", [1, 2, 5, 6]), _passage("d", [1, 2, 9], index=1)]
    )
    assert sorted(found) == [0, 1, 2]
    assert found[0].ids_NM[1].tolist() == [3, 5] and found[0].shares_NM[1].tolist() == [1 / 3, 2 / 3]
    assert found[1].ids_NM[1].tolist() == [5, 3] and found[1].shares_NM.tolist() == [[1, 0], [2 / 3, 1 / 3], [1 / 2, 1 / 2]]
    assert found[0].shares_NM[2].tolist() == [1, 0], "after another word the context is another"


def test_answers_to_the_same_prompt_are_pooled_and_prompts_are_not() -> None:
    found = pooled([_passage("a", [7, 8, 1, 2], 3, 2), _passage("b", [7, 8, 1, 3], 5, 2), _passage("c", [7, 9, 4], 0, 2)])
    assert sorted(found) == [0, 1]
    assert [len(one.ids_NM) for one in found.values()] == [2, 2] and found[0].shares_NM.tolist() == [[1, 0], [0.5, 0.5]]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 9999), alpha=st.floats(0, 1), k=st.integers(3, 15), m=st.integers(1, 3))
def test_a_pooled_position_has_exactly_the_mass_of_the_dense_mixture(seed: int, alpha: float, k: int, m: int) -> None:
    """The tokens of largest mass stay in the support; every stored event has the mass of the mixture."""
    random, v = np.random.default_rng(seed), 15
    dense = random.dirichlet(np.ones(v), 4)
    ids = np.sort(np.argsort(-dense, axis=1)[:, :k], axis=1)
    rest = dense.copy()
    np.put_along_axis(rest, ids, 0.0, axis=1)
    reference = SparseDistributions(ids, np.take_along_axis(dense, ids, axis=1), rest.sum(axis=1))
    written = np.stack([random.permutation(v)[:m] for _ in range(4)])
    shares = random.dirichlet(np.ones(m), 4)
    mixed = mix_pooled(reference, written, shares, np.take_along_axis(dense, written, axis=1), alpha)
    wanted = (1 - alpha) * dense
    np.add.at(wanted, (np.arange(4)[:, None], written), alpha * shares)
    np.testing.assert_allclose(mixed.probs_NK, np.take_along_axis(wanted, mixed.ids_NK, axis=1), atol=1e-9)
    np.testing.assert_allclose(mixed.probs_NK.sum(axis=1) + mixed.tail_N, 1, atol=1e-9)


def test_draws_of_the_target_have_its_probabilities() -> None:
    """200,000 draws: a share of .35 has a standard error of .0011, and 5 of these are allowed."""
    random, count = np.random.default_rng(0), 200_000
    drawn = random.choice(4, (1, count), p=[0.1, 0.2, 0.3, 0.4])
    found = draws_of_target(drawn, np.array([[0, 5]]), np.array([[0.25, 0.75]]), 0.4, random.random((1, count)), random.random((1, count)))
    shares = np.bincount(found[0], minlength=6) / count
    np.testing.assert_allclose(shares, [0.6 * 0.1 + 0.4 * 0.25, 0.12, 0.18, 0.24, 0, 0.3], atol=5 * 0.0011)
