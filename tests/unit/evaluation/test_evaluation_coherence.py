"""Coherence: word salad and endless repetition fall out of the human range, human text does not."""

import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.evaluation.coherence import human_range, inside, measure, score_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from timbre.inference.scorer import Scorer


def rows(n: int) -> list[dict[str, Any]]:
    return [{"prompt_id": f"p{k}", "cluster": f"d{k}", "kind": "style", "sample": 0} for k in range(n)]


@pytest.mark.parametrize("n", [3, 8, 32, 99])
def test_small_ranges_hold_98_of_100_fresh_human_texts(n: int) -> None:
    """On normal NLLs, 4,000 ranges with one fresh text each: Monte Carlo knows 98% to .6 points."""
    rng = np.random.default_rng(n)
    held = np.mean([inside(rng.normal(4, 0.4), *human_range(rng.normal(4, 0.4, n))) for _ in range(1500)])
    assert abs(held - 0.98) <= 2.58 * math.sqrt(0.98 * 0.02 / 1500)


def test_large_ranges_are_the_quantiles() -> None:
    values = np.random.default_rng(0).gamma(9, 0.5, 1000)
    assert human_range(values) == pytest.approx(tuple(np.quantile(values, [0.01, 0.99])))


def test_share_comes_with_bounds_and_says_who_scored() -> None:
    human = [4.0 + 0.1 * math.sin(k) for k in range(120)]
    items, summary = measure(rows(6), [4.0, 4.02, 9.0, 0.2, None, 3.98], human, "the base model")
    assert (summary["inside"], summary["below"], summary["above"], summary["empty"]) == (3, 1, 1, 1)
    assert summary["share"] == 0.5 and 0 < summary["low"] < 0.5 < summary["high"] < 1
    assert "Scored by the base model" in summary["sentence"]
    assert [item["value"] for item in items if item["metric"] == "coherent"] == [1, 1, 0, 0, 0, 1]
    assert len([item for item in items if item["metric"] == "text_nll"]) == 5


@pytest.mark.parametrize(("own", "human", "says"), [(0, 40, "No output"), (4, 0, "0 human texts"), (4, 2, "3 are the least")])
def test_without_outputs_or_human_texts_there_is_no_share(own: int, human: int, says: str) -> None:
    items, summary = measure(rows(own), [4.0] * own, [4.0] * human, "x")
    assert items == [] and summary["share"] is None and summary["low"] is None and says in summary["sentence"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_likelihood_that_is_no_number_is_not_reported(bad: float) -> None:
    with pytest.raises(FloatingPointError, match="not a number"):
        measure(rows(1), [bad], [4.0] * 20, "x")
    with pytest.raises(ValueError, match="not a number"):
        human_range([4.0] * 20 + [bad])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 12), min_size=3, max_size=150), st.floats(-3, 3))
def test_the_range_moves_with_the_texts(values: list[float], shift: float) -> None:
    low, high = human_range(values)
    assert low <= float(np.median(values)) <= high
    assert human_range([value + shift for value in values]) == pytest.approx((low + shift, high + shift), abs=1e-9)


@pytest.fixture(scope="module")
def reader(tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> "tuple[Scorer, PreTrainedTokenizerBase]":
    """The tiny model after a little reading, so that order of words means something to it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from timbre.inference.scorer import Scorer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model_dir)
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)
    ids = tokenizer(" ".join(text for _, text in tiny_corpus_texts[:24]), add_special_tokens=False, verbose=False)["input_ids"]
    data = torch.tensor(ids[: len(ids) // 64 * 64]).view(-1, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(150):
        batch = data[torch.randint(len(data), (8,), generator=torch.Generator().manual_seed(step))]
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return Scorer(model.eval(), len(tokenizer)), tokenizer


def test_salad_and_repetition_are_outside_what_people_write(
    reader: "tuple[Scorer, PreTrainedTokenizerBase]", tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    """The positive control: shuffled words score above the range, one phrase for ever below it; unseen human texts lie inside."""
    scorer, tokenizer = reader
    pieces = [text.split()[start : start + 46] for _, text in tiny_corpus_texts[24:] for start in (0, 50, 100)]
    pairs = [(" ".join(piece[:6]), " " + " ".join(piece[6:])) for piece in pieces]
    chance = random.Random(0)
    salad = [(prompt, " " + " ".join(chance.sample(text.split(), len(text.split())))) for prompt, text in pairs]
    stuck = [(prompt, " " + " ".join(text.split()[:4] * 10)) for prompt, text in pairs]
    human = score_texts(scorer, tokenizer, pairs[::2], 512)
    shares = {}
    for name, texts in (("human", pairs[1::2]), ("salad", salad[1::2]), ("stuck", stuck[1::2])):
        _, summary = measure(rows(len(texts)), score_texts(scorer, tokenizer, texts, 512), [x for x in human if x is not None], "tiny")
        shares[name] = (summary["share"], summary["below"], summary["above"])
    assert shares["human"][0] >= 0.9
    assert shares["salad"][0] <= 0.1 and shares["salad"][2] > 0
    assert shares["stuck"][0] <= 0.5


def test_batches_and_long_prompts_change_no_score(reader: "tuple[Scorer, PreTrainedTokenizerBase]") -> None:
    scorer, tokenizer = reader
    pairs = [("The old harbour", " drifted near the tide."), ("", " Beyond the grey water."), ("The", ""), ("gull " * 900, " tide " * 5)]
    together, alone = score_texts(scorer, tokenizer, pairs, 4096), [score_texts(scorer, tokenizer, [pair], 64)[0] for pair in pairs]
    assert together[2] is None and alone[2] is None
    assert [x for x in together if x is not None] == pytest.approx([x for x in alone if x is not None], abs=1e-5)
