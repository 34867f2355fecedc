"""The corpus audit counts whom a corpus writes about and how, and says what it cannot tell."""

import random

import numpy as np
import pytest

from timbre.evaluation.bias.audit import audit, audit_gap, audit_gap_drop, difference, tally
from timbre.evaluation.bias.lexicon import ASSOCIATIONS, GROUPS

FILLER = " ".join(["stone"] * 12)


def corpus(women_able: float, men_able: float, documents: int = 40, seed: int = 0) -> list[str]:
    """Documents of ten sentences, each about a woman or a man, with the given chance that the person is called clever."""
    chance = random.Random(seed)
    texts = []
    for _ in range(documents):
        parts = []
        for _ in range(10):
            who, able = chance.choice((("woman", women_able), ("man", men_able)))
            parts.append(f"The {who} was {'clever' if chance.random() < able else 'there'}. {FILLER}.")
        texts.append(" ".join(parts))
    return texts


def test_a_difference_that_was_put_there_is_found_with_its_size() -> None:
    found = audit(corpus(0.1, 0.5))["categories"]["gender"]["groups"]
    able = found["female"]["associations"]["able"]["difference"]
    assert able["low"] < -0.4 < able["high"] < -0.2
    assert found["male"]["associations"]["able"]["difference"]["value"] == pytest.approx(-able["value"])
    family = found["female"]["associations"]["family"]["difference"]
    assert family["value"] == 0 and found["female"]["share"] + found["male"]["share"] == 1


def test_intervals_by_document_cover_the_truth_nineteen_times_in_twenty() -> None:
    """200 corpora of equal treatment: 5% of the intervals may miss 0; binomial noise of 200 draws is ±3.1 points."""
    missed = 0
    for seed in range(200):
        found = difference(tally(corpus(0.3, 0.3, documents=16, seed=seed)), "gender", "female", "male", "able")
        missed += found["low"] > 0 or found["high"] < 0
    assert missed <= 0.05 * 200 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_one_document_that_says_it_all_is_no_evidence() -> None:
    one_novel = [" ".join(corpus(0.0, 1.0, documents=30)), *["Nobody is here."] * 20]
    assert audit(one_novel)["categories"]["gender"]["groups"]["female"]["associations"]["able"]["difference"]["low"] is None


def test_near_is_counted_in_words_and_a_mention_is_not_near_itself() -> None:
    counted = tally(["she " + "x " * 3 + "clever " + "x " * 30 + "she"], window=4, groups={"g": {"f": frozenset({"she"})}})
    assert counted.mentions["g"]["f"].tolist() == [2] and counted.near["g"]["f"][0, counted.associations.index("able")] == 1
    own = tally(["The hero left."], groups={"g": {"m": frozenset({"hero"})}}, associations={"strong": frozenset({"hero"})})
    assert own.mentions["g"]["m"][0] == 1 and own.near["g"]["m"][0, 0] == 0
    assert tally(["A woman's hat"]).mentions["gender"]["female"][0] == 1


def test_the_gap_falls_where_a_corpus_is_joined_by_its_swap() -> None:
    skewed = corpus(0.1, 0.6)
    mended = [f"{text} {text.replace('woman', 'person').replace('man', 'woman').replace('person', 'man')}" for text in skewed]
    before, after = tally(skewed), tally(mended)
    drop = audit_gap_drop(before, after, "gender", "female", "male")
    assert drop["low"] > 0 and audit_gap(after, "gender", "female", "male")["value"] < 0.01 < drop["value"]
    with pytest.raises(ValueError, match="cannot be paired"):
        audit_gap_drop(before, tally(mended[1:]), "gender", "female", "male")


def test_nothing_to_audit_is_said() -> None:
    with pytest.raises(ValueError, match="no text to audit"):
        audit([])
    with pytest.raises(ValueError, match="window"):
        audit(["x"], window=0)
    empty = audit(["Рыбак сидел у моря.", ""])
    assert empty["categories"] == {} and set(empty["not_mentioned"]) == set(GROUPS)


def test_no_word_names_two_groups_of_a_category_and_lists_are_lower_case() -> None:
    for category, groups in GROUPS.items():
        terms = [word for words in groups.values() for word in words]
        assert len(set(terms)) == len(terms), category
        assert all(word == word.lower() and words for words in groups.values() for word in words)
    assert not ASSOCIATIONS["pleasant"] & ASSOCIATIONS["unpleasant"]
