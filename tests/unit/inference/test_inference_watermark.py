"""The watermark is transformers' SynthID-Text; it is found where it is, and seldom where it is not."""

import numpy as np
import torch
from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor

from timbre.inference import sampling
from timbre.inference.watermark import Watermark, keys_of

MARK = Watermark(keys_of(b"a secret"))
VOCABULARY = 600


def theirs() -> SynthIDTextWatermarkLogitsProcessor:
    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=MARK.ngram_len, keys=list(MARK.keys), sampling_table_size=MARK.table_size, sampling_table_seed=MARK.table_seed,
        context_history_size=MARK.history, device=torch.device("cpu"),
    )  # fmt: skip


def text(seed: int, tokens: int, *, marked: bool) -> list[int]:
    """Tokens drawn from distributions of some two nats that depend on the token before."""
    random, state, drawn = np.random.default_rng(seed), MARK.begin(), [seed % VOCABULARY]
    table = np.random.default_rng(7).normal(0, 3.3, (VOCABULARY, VOCABULARY))
    for _ in range(tokens):
        row = sampling.top_p(table[drawn[-1]][None], 0.95)[0]
        row = state.marked(row) if marked else row
        drawn.append(int(sampling.draw(row[None], random.random(1))[0]))
        state.push(drawn[-1])
    return drawn[1:]


def test_scores_are_those_of_transformers_also_where_a_context_comes_again() -> None:
    processor, state, random = theirs(), MARK.begin(), np.random.default_rng(2)
    ids, repeated = torch.zeros((1, 1), dtype=torch.long), 0
    for _ in range(60):
        row = random.normal(0, 3, VOCABULARY)
        expected = torch.softmax(processor(ids, torch.tensor(row[None])), -1)[0].numpy()
        ours = state.marked(row)
        np.testing.assert_allclose(np.exp(ours) / np.exp(ours).sum(), expected, atol=1e-12)
        repeated += int(np.array_equal(ours, row))
        token = int(random.integers(0, 2))  # two tokens: contexts of four come again soon
        state.push(token)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    assert 5 < repeated < 55


def test_g_values_are_those_of_transformers() -> None:
    tokens = np.random.default_rng(4).integers(0, 49152, 80)
    expected = theirs().compute_g_values(torch.tensor(tokens[None]))[0].numpy()
    size = MARK.ngram_len - 1
    ours = [MARK.g_values(MARK.context_hash(tokens[at - size : at].tolist()), tokens[at : at + 1])[0] for at in range(size, len(tokens))]
    assert (np.stack(ours) == expected).all()


def test_the_mark_is_found_in_200_tokens_and_not_with_another_key() -> None:
    found = [MARK.detect(text(seed, 200, marked=True)).p_value for seed in range(40)]
    assert np.mean(np.array(found) < 0.01) >= 0.95
    other = Watermark(keys_of(b"another secret"))
    assert np.mean([other.detect(text(seed, 200, marked=True)).p_value < 0.01 for seed in range(40)]) <= 0.1


def test_the_false_positive_rate_is_the_one_that_is_asked_for() -> None:
    random = np.random.default_rng(1)
    p_values = np.array([MARK.detect(random.integers(0, 49152, 200).tolist()).p_value for _ in range(1500)])
    for rate in (0.01, 0.1, 0.5):
        share, error = float((p_values < rate).mean()), float(np.sqrt(rate * (1 - rate) / len(p_values)))
        assert abs(share - rate) < 3.5 * error, (rate, share)


def test_the_distribution_of_a_token_is_unchanged_over_keys() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    shares = np.mean([np.exp(Watermark(keys_of(bytes([n % 256, n // 256]))).begin().marked(row)) for n in range(3000)], 0)
    np.testing.assert_allclose(shares, np.exp(row), atol=0.02)


def test_a_text_too_short_to_look_at_is_not_called_marked() -> None:
    assert MARK.detect([5, 6, 7]).p_value == 1.0 and MARK.detect([]).tokens == 0
