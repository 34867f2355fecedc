"""Laws of the reference distribution: masses sum to 1, strength has two ends, principles reweight, a debiased one is symmetric."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import target_config

from timbre.artifacts import Artifact
from timbre.config import BlendPart
from timbre.corpus.passages import Passage
from timbre.models import load_model
from timbre.targets.debias import Swap
from timbre.targets.ngram import Factored, NgramModel, NgramRows
from timbre.targets.principles import Conditioned, Lexicon
from timbre.targets.reference_distribution import Mixture, Parts, ReferenceDistribution, Shaping, blended, combined, interpolated
from timbre.targets.scoring import normalised

N, V = 5, 17
SEEDS = st.integers(0, 9999)


def _logits(seed: int, n: int = N) -> torch.Tensor:
    return 2 * torch.randn((n, V), generator=torch.Generator().manual_seed(seed))


def _ngrams(seed: int) -> tuple[NgramRows, tuple[Factored, ...]]:
    """Of three short documents, one of them left out, at N positions; in two pieces, as where passages meet in a chunk."""
    random = np.random.default_rng(seed)
    documents = {name: random.integers(0, 6, 30) for name in "abc"}
    rows = NgramModel(documents, V, 4).rows(documents["a"][: N + 1], "a")
    return rows, (rows.factored(0, 2), rows.factored(2))


def _parts(seed: int, styles: int = 2) -> Parts:
    logits = tuple(_logits(seed + place) for place in range(styles))
    return Parts(logits, _ngrams(seed)[1], normalised(_logits(seed + 99)), torch.zeros(N, 2), ())


def _near(one: torch.Tensor, other: torch.Tensor) -> None:
    """Float32 over 17 tokens: a few roundings of 1e-7 each."""
    torch.testing.assert_close(one.exp(), other.exp(), atol=2e-6, rtol=2e-5)


@settings(deadline=None, max_examples=40)
@given(
    seed=SEEDS, weight=st.floats(0, 1), eta=st.floats(0, 1), strength=st.floats(0, 1), temperature=st.floats(0.3, 3), beta=st.floats(-3, 3)
)
def test_whatever_is_combined_is_a_distribution(
    seed: int, weight: float, eta: float, strength: float, temperature: float, beta: float
) -> None:
    lexicon = Lexicon(np.linspace(-1, 1, V).astype(np.float32), ())
    parts = replace(_parts(seed), conditioned=(None,))
    log_p = combined(parts, Mixture(temperature, (weight, 1 - weight), eta), Shaping(strength, ((beta, lexicon),)))
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(N), atol=1e-5, rtol=0)
    assert not log_p.isnan().any()


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, weight=st.floats(0, 1), temperature=st.floats(0.3, 3))
def test_a_blend_is_the_weighted_mean_of_its_styles(seed: int, weight: float, temperature: float) -> None:
    logits = (_logits(seed), _logits(seed + 1))
    found = blended(logits, Mixture(temperature, (weight, 1 - weight), 0.0)).exp()
    wanted = weight * (logits[0] / temperature).softmax(-1) + (1 - weight) * (logits[1] / temperature).softmax(-1)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, eta=st.floats(0, 1))
def test_strength_zero_is_native_and_one_is_the_style(seed: int, eta: float) -> None:
    parts, mixture = _parts(seed), Mixture(1.0, (0.4, 0.6), eta)
    style = combined(parts, mixture, Shaping())
    assert parts.native_nV is not None
    _near(combined(parts, mixture, Shaping(strength=0.0)), parts.native_nV)
    assert torch.equal(combined(parts, mixture, Shaping(strength=1.0)), style)
    between = interpolated(parts.native_nV, style, 0.5)
    wanted = (parts.native_nV.exp() * style.exp()).sqrt()
    _near(between, (wanted / wanted.sum(-1, keepdim=True)).log())


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, eta=st.floats(0, 1))
def test_the_ngram_component_has_the_weight_that_its_confidence_gives_it(seed: int, eta: float) -> None:
    parts, (rows, _) = _parts(seed, styles=1), _ngrams(seed)
    weight = torch.from_numpy(eta * rows.confidence)[:, None]
    wanted = (1 - weight) * parts.logits[0].double().softmax(-1) + weight * torch.from_numpy(rows.dense())
    found = combined(parts, Mixture(1.0, (1.0,), eta), Shaping()).exp()
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, beta=st.floats(-4, 4))
def test_a_principle_multiplies_by_the_exponential_of_its_score(seed: int, beta: float) -> None:
    scores = np.where(np.arange(V) % 3 == 0, 1.0, 0.0).astype(np.float32)
    parts = _parts(seed, styles=1)
    parts = replace(parts, ngram=(), conditioned=(None,))
    found = combined(parts, Mixture(1.0, (1.0,), 0.0), Shaping(principles=((beta, Lexicon(scores, ())),))).exp()
    wanted = parts.logits[0].softmax(-1) * torch.from_numpy(scores * beta).exp()
    torch.testing.assert_close(found, wanted / wanted.sum(-1, keepdim=True), atol=2e-6, rtol=2e-5)
    if beta == 0:
        _near(found.log(), parts.logits[0].log_softmax(-1))


def test_a_conditioned_principle_is_the_log_ratio_within_its_limit() -> None:
    native, conditioned = normalised(_logits(1)), normalised(4 * _logits(2))
    scores = Conditioned(np.array([3]), 3.0).scores(native, conditioned, torch.zeros(N, 2))
    assert float(scores.abs().max()) == 3.0
    inside = (conditioned - native).abs() < 3
    assert torch.equal(scores[inside], (conditioned - native)[inside]) and bool(inside.any())


@pytest.mark.parametrize("weights", [(0.5, 0.6), (1.2, -0.2), (0.3,)])
def test_weights_that_do_not_sum_to_one_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Mixture(1.0, weights, 0.0)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Shaping(strength)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"strength": 1.5}, "strength"), ({"alpha": float("nan")}, "alpha"), ({"ngram_weight": -0.1}, "ngram_weight"),
        ({"fit": ["blend"]}, "fewer than two styles"), ({"strength": 0.0, "fit": ["ngram"]}, "whatever is fitted"),
        ({"blend": [{"style": "a", "weight": 0.5, "sources": ["x"]}]}, "sum to 0.5"),
        ({"blend": [{"style": s, "weight": 0.5, "sources": ["x"]} for s in "ab"]}, "source twice"),
        ({"blend": [{"style": "a", "weight": 0.5, "sources": [s]} for s in "xy"]}, "style twice"),
        ({"blend": [{"style": s, "weight": 0.5, "sources": [s]} for s in "ab"], "reference_epochs": 0}, "reference_epochs"),
        ({"principles": [{"name": "p", "strength": float("nan")}]}, "strength"), ({"formats": []}, "formats"), ({"draws": 300}, "draws"),
        ({"formats": ["continuation", "continuation"]}, "formats names something twice"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused_by_name(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        target_config(**change)


def test_a_blend_that_can_be_is_taken() -> None:
    parts = tuple(BlendPart(style=style, weight=weight, sources=(style,)) for style, weight in (("a", 0.7), ("b", 0.3)))
    assert target_config(blend=parts).blend == parts


def _swap(vocab: int = 384) -> Swap:
    """Tokens 40 ↔ 41 and 50 ↔ 51 anywhere, 60 ↔ 61 only where no letter stands before; 10–200 end in letters, 300–320 begin with one."""
    anywhere = np.arange(vocab)
    anywhere[[40, 41, 50, 51]] = 41, 40, 51, 50
    after_letter = anywhere.copy()
    anywhere[[60, 61]] = 61, 60
    letters = (np.arange(vocab) >= 10) & (np.arange(vocab) < 200)
    begins = (np.arange(vocab) >= 300) & (np.arange(vocab) < 320)
    return Swap(anywhere, after_letter, letters, begins, ())


@pytest.fixture(scope="module")
def network(target_model: Artifact) -> Any:
    return load_model(target_model)


@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, strength=st.floats(0.05, 1), beta=st.floats(-2, 2), eta=st.sampled_from([0.0, 0.5]))
def test_a_debiased_bracket_says_of_the_one_what_it_says_of_the_other(
    network: Any, seed: int, strength: float, beta: float, eta: float
) -> None:
    """P(σx|σh) = P(x|h) on a real network with all steps at work; float32 sums differ in the last digits."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, 384, 40).astype(np.int32)
    tokens[(tokens >= 300) & (tokens < 320)] = 7  # words that go on have no mirror: the test below
    tokens[random.permutation(40)[:6]] = 40, 51, 60, 41, 61, 50
    passage = Passage("d", 0, 0, "someone", tokens)
    ngram = NgramModel({"x": np.concatenate([tokens[3:30], tokens[5:25]])}, 384) if eta else None
    lexicon = Lexicon((np.arange(384) % 5 == 0).astype(np.float32), ())
    swap = _swap()
    distribution = ReferenceDistribution(network, 384, (), Mixture(0.9, (1.0,), eta), Shaping(strength, ((beta, lexicon),), swap), ngram)
    ours = torch.cat(list(distribution.log_probs([passage])))
    theirs = torch.cat(list(distribution.log_probs([swap.passage(passage)])))
    last = torch.from_numpy(swap.passage(passage).token_ids[:-1].astype(np.int64))
    torch.testing.assert_close(ours, swap.permuted(theirs, last), atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(ours.exp().sum(-1), torch.ones(39), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, first_label=st.integers(1, 5), strength=st.sampled_from([0.5, 1.0]))
def test_what_a_debiased_bracket_says_never_depends_on_what_it_predicts(network: Any, seed: int, first_label: int, strength: float) -> None:
    """Texts that agree up to a token agree in everything that is said up to there, whether a word goes on after it or not."""
    random = np.random.default_rng(seed)
    tokens = random.choice([20, 250, 301, 305, 40, 41, 50, 51, 60, 61], 24).astype(np.int32)
    other, place = tokens.copy(), int(random.integers(first_label, 24))
    other[place:] = random.choice([20, 250, 301, 310, 40, 61], 24 - place)
    distribution = ReferenceDistribution(network, 384, (), Mixture(0.9, (1.0,), 0.0), Shaping(strength, swap=_swap()))
    found = [torch.cat(list(distribution.log_probs([Passage("d", 0, 0, "someone", ids, first_label)]))).exp() for ids in (tokens, other)]
    same = place - first_label + 1  # the rows before and at the place where they part
    torch.testing.assert_close(found[0][:same], found[1][:same], atol=2e-6, rtol=2e-4)
    beside = Passage("e", 0, 0, "someone", tokens[::-1].copy())
    in_a_batch = torch.cat(list(distribution.log_probs([beside, Passage("d", 0, 0, "someone", tokens, first_label)]))).exp()[23:]
    torch.testing.assert_close(in_a_batch, found[0], atol=2e-6, rtol=2e-4)


def test_a_context_that_ends_in_a_word_has_it_swapped_whatever_follows(network: Any) -> None:
    """In both texts token 40 stands before the last; in one of them the last goes on with the word."""
    distribution = ReferenceDistribution(network, 384, (), Mixture(1.0, (1.0,), 0.0), Shaping(swap=_swap()))
    texts = [np.array([20, 250, 40, last], np.int32) for last in (250, 301)]
    ends, goes_on = (torch.cat(list(distribution.log_probs([Passage("d", 0, 0, "someone", text)])))[-1].exp() for text in texts)
    with torch.no_grad():
        ours, theirs = (network(torch.tensor([[20, 250, token]])).logits[0, -1, :384].softmax(-1) for token in (40, 41))
    wanted = 0.5 * (ours + theirs[torch.from_numpy(_swap().after_letter_V)])
    wanted_apart = 0.5 * (ours + theirs[torch.from_numpy(_swap().anywhere_V)])
    for found in (ends, goes_on):
        assert min(float((found - one).abs().max()) for one in (wanted, wanted_apart)) < 2e-6


def test_a_passage_with_a_word_that_goes_on_has_no_swap_of_its_own() -> None:
    ends, goes_on = (Passage("d", 0, 0, "someone", np.array([40, last, 51], np.int32)) for last in (250, 301))
    assert _swap().changes(ends) and not _swap().changes(goes_on)
    assert _swap().ids(goes_on.token_ids).tolist() == [40, 301, 50]


def test_a_swap_changes_what_the_reference_distribution_says(network: Any) -> None:
    tokens = np.arange(100, 140, dtype=np.int32)
    tokens[5] = 40
    passage, mixture = Passage("d", 0, 0, "someone", tokens), Mixture(1.0, (1.0,), 0.0)
    plain, swapped = (
        torch.cat(list(ReferenceDistribution(network, 384, (), mixture, shaping).log_probs([passage])))
        for shaping in (Shaping(), Shaping(swap=_swap()))
    )
    assert not torch.allclose(plain[6], swapped[6], atol=1e-3), "after the swapped word"
    assert float(swapped[3, 40]) == pytest.approx(float(swapped[3, 41])), "before any, both are as likely"


def test_the_ngrams_of_a_counted_document_are_those_of_the_others(network: Any) -> None:
    """A passage of a training document is scored without its own n-grams; one of another document with all."""
    random = np.random.default_rng(4)
    texts = {name: random.integers(0, 30, 60) for name in ("mine", "other")}
    ngram = NgramModel(texts, 384)
    mixture = Mixture(1.0, (1.0,), 1.0)
    for name, left_out in (("mine", "mine"), ("unseen", None)):
        passage = Passage(name, 0, 0, "someone", texts["mine"][:20].astype(np.int32))
        found = torch.cat(
            list(ReferenceDistribution(network, 384, (), mixture, ngram=ngram, counted=frozenset(texts)).log_probs([passage]))
        ).exp()
        plain = torch.cat(list(ReferenceDistribution(network, 384, (), mixture).log_probs([passage]))).exp()
        rows = ngram.rows(passage.token_ids, left_out)
        share = torch.from_numpy(rows.confidence)[:, None]
        torch.testing.assert_close(found.double(), (1 - share) * plain + share * torch.from_numpy(rows.dense()), atol=1e-6, rtol=1e-4)


def test_without_a_weight_no_ngram_is_looked_up(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """η = 0, as fitted or as given: the same bytes as without an n-gram component, and no time spent on one."""
    texts = {"other": np.arange(60) % 7}
    passage, mixture = Passage("mine", 0, 0, "someone", np.arange(30, dtype=np.int32)), Mixture(0.9, (1.0,), 0.0)
    plain = torch.cat(list(ReferenceDistribution(network, 384, (), mixture).log_probs([passage])))
    model = NgramModel(texts, 384)
    monkeypatch.setattr(NgramModel, "rows", lambda *_: pytest.fail("n-grams that weigh nothing were looked up"))
    assert torch.equal(torch.cat(list(ReferenceDistribution(network, 384, (), mixture, ngram=model).log_probs([passage]))), plain)


@settings(deadline=None, max_examples=50)
@given(tokens=st.lists(st.integers(0, 80), min_size=1, max_size=30))
def test_a_swap_leads_back(tokens: list[int]) -> None:
    swap, ids = _swap(), np.array(tokens, dtype=np.int32)
    assert np.array_equal(swap.ids(swap.ids(ids)), ids)
    assert len(swap.ids(ids)) == len(ids)


def test_a_part_of_a_word_is_not_swapped() -> None:
    """Token 60 is a word at the beginning and after token 5 (no letter), a syllable after token 15 (a letter)."""
    assert _swap().ids(np.array([60, 5, 60, 15, 60, 15, 40])).tolist() == [61, 5, 61, 15, 60, 15, 41]
