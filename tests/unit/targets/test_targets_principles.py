"""Principles: what they read, how they score tokens, what a target says of them; swaps of words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_targets import target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import read_toml
from timbre.models import load_tokenizer
from timbre.store import TargetRow
from timbre.targets.classifier import Classifier
from timbre.targets.debias import Swap, swap_of
from timbre.targets.principles import Principle, principle_paths, scorer_of
from timbre.targets.reference import load_reference
from timbre.targets.rows import counterfactual_row
from timbre.targets.stage import build_target, target_inputs


def test_shipped_principles_are_well_formed() -> None:
    paths = principle_paths()
    assert {"gender", "plain-speech", "fewer-stock-words", "concrete-scenes"} <= set(paths)
    assert all(read_toml(path, Principle).name == name for name, path in paths.items())


def test_a_target_knows_its_principles_by_content(own_principles: Path) -> None:
    config = target_config(principles=[{"name": "more-of-it", "strength": 1.0}])
    before = target_inputs(config)["principle:more-of-it"].digest
    path = own_principles / "more-of-it.toml"
    path.write_text(path.read_text().replace("1.0", "0.5"))
    assert target_inputs(config)["principle:more-of-it"].digest != before
    assert target_inputs(target_config()) == {}
    with pytest.raises(ValueError, match=r"unknown principle 'nobody': known are .*gender"):
        target_inputs(target_config(principles=[{"name": "nobody", "strength": 1.0}]))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "p"\nstatement = "x"\nkind = "lexicon"\n', "needs 'words'"), ("name = 3", "name"), ("=", "not a TOML file"),
        ('name = "p"\nstatement = "x"\nkind = "lexicon"\nwords = { a = 9.0 }\n', "weights of words"),
        ('name = "p"\nstatement = "x"\nkind = "magic"\n', "kind"),
    ],
)  # fmt: skip
def test_a_principle_that_is_none_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_toml(tmp_path / "p.toml", Principle)


def test_words_of_several_tokens_are_left_out_and_counted(target_model: Artifact) -> None:
    tokenizer = load_tokenizer(target_model)
    with pytest.warns(UserWarning, match="1 words take several tokens"):
        scorer = scorer_of(
            Principle(name="p", statement="x", kind="lexicon", words={"the": 1.0, "xylophone": -1.0}), tokenizer, 384, pytest.fail
        )
    (the,) = tokenizer(" the", add_special_tokens=False)["input_ids"]
    assert scorer.weights_V[the] == 1 and scorer.left_out == ("xylophone",)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no word that this tokenizer"):
        scorer_of(Principle(name="p", statement="x", kind="lexicon", words={"xylophone": 1.0}), tokenizer, 384, pytest.fail)
    table = Principle(name="t", statement="x", kind="swap", pairs=(("the", "xylophone"), ("and", "near")))
    swap = swap_of(table, tokenizer, 384)
    assert (" the", " xylophone") in swap.skipped and swap.anywhere_V[the] == the
    with pytest.raises(ValueError, match="more than one pair"):
        swap_of(table.model_copy(update={"pairs": (("the", "and"), ("and", "near"))}), tokenizer, 384)
    with pytest.raises(ValueError, match=r"name it in target\.debias"):
        scorer_of(table, tokenizer, 384, pytest.fail)


FOLLOWS = ("the sea and the ship", "a ship near the sea", "the ship and a sea", "the sea near a ship", "a sea and the ship near")
BREAKS = ("she said that he was", "he was what she said", "that was what he said", "she was that he said", "what he said she was")


def _classifier(model: Artifact, **given: Any) -> Classifier:
    principle = Principle(name="mine", statement="x", kind="classifier", **({"follows": FOLLOWS, "breaks": BREAKS} | given))
    scorer = scorer_of(principle, load_tokenizer(model), 384, lambda: load_reference(model))
    assert isinstance(scorer, Classifier)
    return scorer


def test_a_classifier_favours_the_words_of_the_texts_that_keep_its_principle(target_model: Artifact) -> None:
    scorer, tokenizer = _classifier(target_model), load_tokenizer(target_model)
    assert scorer.accuracy >= 0.8
    kept, broken = (
        {token for text in side for token in tokenizer(text, add_special_tokens=False)["input_ids"][1:]} for side in (FOLLOWS, BREAKS)
    )
    assert scorer.token_odds_V[[*(kept - broken)]].mean() > 0 > scorer.token_odds_V[[*(broken - kept)]].mean()
    hidden_nD = torch.randn(3, len(scorer.context.weights_D), generator=torch.Generator().manual_seed(0))
    r_nV = scorer.scores(torch.zeros(3, 384), None, hidden_nD)
    odds_nV = scorer.context(hidden_nD.double().numpy())[:, None] + scorer.token_odds_V
    np.testing.assert_allclose(r_nV.numpy(), np.maximum(-np.logaddexp(0, -odds_nV), -scorer.limit), atol=1e-5)
    swapped = _classifier(target_model, follows=BREAKS, breaks=FOLLOWS)
    np.testing.assert_allclose(swapped.token_odds_V, -scorer.token_odds_V, atol=1e-3)  # what is kept and what is broken are one question


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"breaks": FOLLOWS}, r"principle 'mine': the classifier tells \d+% of its own examples apart"),
        ({"follows": ("a", *FOLLOWS)}, "principle 'mine': an example of a classifier must have at least two tokens"),
        ({"breaks": BREAKS[:3]}, "4 texts or more in 'follows' and in 'breaks', got 5 and 3"),
    ],
)
def test_a_classifier_that_cannot_be_learnt_is_a_sentence(target_model: Artifact, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _classifier(target_model, **given)


def test_a_target_follows_a_classifier_and_says_how_good_it_is(
    own_principles: Path, target_corpus: Artifact, target_model: Artifact, target_store: ArtifactStore
) -> None:
    (own_principles / "sea.toml").write_text(
        f'name = "sea"\nstatement = "x"\nkind = "classifier"\nfollows = {json.dumps(FOLLOWS)}\nbreaks = {json.dumps(BREAKS)}\n'
    )
    plain = build_target(target_config(), target_corpus, target_model, target_store)
    built = build_target(target_config(principles=[{"name": "sea", "strength": 0.2}]), target_corpus, target_model, target_store)
    (said,) = built.json("summary.json")["principles"]
    assert said["name"] == "sea" and said["examples_told_apart"] >= 0.8 and built.digest != plain.digest


def test_a_swap_leaves_the_beginnings_of_longer_words_alone() -> None:
    """Tokens 1 and 2 are partners, 5 begins with a letter: in 1 5 there is a longer word, and in 1 6 there is none."""
    map_V, letter_V = np.array([0, 2, 1, 3, 4, 5, 6]), np.arange(7) == 5
    swap = Swap(map_V, map_V, np.zeros(7, bool), letter_V, ())
    text = np.array([3, 1, 5, 1, 6, 2, 2])
    assert swap.ids(text).tolist() == [3, 1, 5, 2, 6, 1, 1] and (swap.ids(swap.ids(text)) == text).all()
    assert swap.within_words(text).tolist() == [False, True, False, False, False, False, False]
    row = TargetRow("d", 0, text, np.array([[1, 2, 4]] * 6), np.array([[0.6, 0.3, 0.1]] * 6, np.float32), np.zeros(6, np.float32), 1)
    mirrored = counterfactual_row(row, swap)
    at = [dict(zip(ids.tolist(), probs.tolist(), strict=True)) for ids, probs in zip(mirrored.ids_TK, mirrored.probs_TK, strict=True)]
    assert at[0] == pytest.approx({1: 0.6, 2: 0.3, 4: 0.1}), "what stays in the text keeps its mass"
    assert at[2] == pytest.approx({2: 0.6, 1: 0.3, 4: 0.1}), "what is swapped takes it along"


def test_a_word_that_is_its_own_capital_goes_with_its_first_partner(target_model: Artifact) -> None:
    swap = swap_of(Principle(name="t", statement="x", kind="swap", pairs=(("I", "the"),)), load_tokenizer(target_model), 384)
    every = np.arange(384)
    assert (swap.anywhere_V[swap.anywhere_V] == every).all() and (swap.after_letter_V[swap.after_letter_V] == every).all()
