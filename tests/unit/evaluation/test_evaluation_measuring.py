"""Metrics of sets against slow definitions, the frozen human side, and texts that nobody expected."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.metrics import slow_mmd
from timbre.metrics import lexical, repetition, samples, tone
from timbre.metrics.catalogue import GROUPS, METRICS
from timbre.metrics.grams import count_table, gram_codes
from timbre.metrics.kernels import KernelDistance, median_bandwidth
from timbre.metrics.measuring import Reference, dealt_anew, measure
from timbre.metrics.overuse import list_rate, overused, read_phrases
from timbre.metrics.style_features import StyleRuler
from timbre.metrics.voice import Voices, voice_consistency
from timbre.words import pieces, words

ODD = ["", "😀😀 😀", "مرحبا بالعالم. كيف حالك؟ " * 20, "你好。世界很大。" * 30, "word", "\x00 \u202e", "the sea. " * 5000, "1 2 3 4 5"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=12), min_size=1, max_size=5), st.integers(1, 4))
def test_counted_grams_are_those_of_a_counter(sequences: list[list[str]], n: int) -> None:
    codes, owner = gram_codes(sequences, n)
    spelled = [gram for sequence in sequences for gram in lexical.ngrams(sequence, n)]
    assert len(codes) == len(spelled)
    names: dict[int, Any] = {}
    for code, gram in zip(codes.tolist(), spelled, strict=True):
        assert names.setdefault(code, gram) == gram
    assert list(names) == sorted(names)  # numbered by first appearance
    gram, text, count = count_table(codes, owner, len(sequences))
    for index, sequence in enumerate(sequences):
        counted = {names[g]: c for g, t, c in zip(gram.tolist(), text.tolist(), count.tolist(), strict=True) if t == index}
        assert counted == dict(Counter(lexical.ngrams(sequence, n)))


def test_mmd_is_that_of_the_slow_definition_and_unbiased() -> None:
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(40, 6))
    bandwidth = median_bandwidth(pool)
    distance = KernelDistance(pool, bandwidth)
    first, second = np.arange(15), np.arange(15, 40)
    assert distance(first, second) == pytest.approx(slow_mmd(pool[:15], pool[15:], bandwidth), abs=1e-12)
    assert abs(slow_mmd(pool[:15], pool[15:], bandwidth)) > 1e-6
    same = [KernelDistance(rng.normal(size=(40, 6)), bandwidth)(np.arange(20), np.arange(20, 40)) for _ in range(300)]
    assert abs(np.mean(same)) <= 3 * np.std(same) / math.sqrt(300)  # type: ignore[arg-type]
    assert distance(first, second[:1]) is None


def test_bandwidth_is_the_humans_and_survives_copies() -> None:
    assert median_bandwidth(np.zeros((5, 3))) == 1.0
    assert median_bandwidth(np.array([[0.0], [3.0], [3.0], [6.0]])) == pytest.approx(3.0)


def test_simple_figures_by_hand() -> None:
    assert lexical.type_token_ratio("the sea the gull") == pytest.approx(3 / 4)
    rare = lexical.RareWords(["the sea", "the gull", "the sea calm"])
    assert rare.rate("the sea gull unheard") == pytest.approx(2 / 4)
    assert rare.rate("the gull", of_reference=True) == pytest.approx(1 / 2)
    assert repetition.pattern("The old sea, and it. The gull!", {"the", "and", "it"}) == "the * * , and it .\nthe * !"
    assert repetition.frame_of(["b a a c b a", "d"], 2) == {"a", "b"}
    assert tone.reading_level("Short words here. Considerable difficulties.") == pytest.approx(5 / 2 + 100 * 2 / 5)
    assert tone.emotional_range(["joy joy", "fear fear"]) == pytest.approx(2.0)
    assert tone.emotional_range(["мир и море " * 50]) is None
    assert list(pieces("One, two. Three four five.", 2)) == ["One, two.", "Three four"]
    assert list(pieces("one two", 3)) == []


def test_samples_of_one_prompt() -> None:
    same, different = ["the sea rose high"] * 4, ["the sea rose", "a gull cried", "nobody spoke here", "iron rang twice"]
    assert (samples.distinct_k(same), samples.distinct_k(different)) == (1, 4)
    assert samples.vendi(samples.word_vectors(same)) == pytest.approx(1.0)
    assert samples.vendi(np.eye(4)) == pytest.approx(4.0)
    assert 1.0 <= samples.vendi(samples.word_vectors(["", "", "a b"])) <= 3.0


def test_fresh_human_text_is_near_and_machine_text_is_far(write: Any) -> None:
    reference = Reference.of(write(80, 120, 1), 40, splits=60)
    fresh, looped = measure(write(40, 120, 2), reference), measure(write(40, 120, 3, "greedy"), reference)
    scored = [metric.name for metric in METRICS if metric.group in GROUPS and metric.name in fresh]
    assert len(scored) == 18
    chance = float(np.quantile(reference.oddness(scored), 0.995))
    assert max(abs(fresh[name].sigmas or 0) for name in scored) <= 1.5 * chance
    for name in ("mattr", "gzip_ratio", "self_repetition_4", "unigram_jsd", "mmd_style"):
        assert looped[name].place == "outside" and abs(looped[name].sigmas or 0) > 5
    for figure in fresh.values():
        assert figure.interval is not None and figure.interval.low <= (figure.value or 0) <= figure.interval.high
    assert reference.missing() == {"mmd_content": "needs the sentence encoder; `timbre setup` fetches it", **_without_feelings(fresh)}


def _without_feelings(figures: Any) -> dict[str, str]:
    return {name: "the human texts give no such figure" for name in ("emotional_range",) if name not in figures}


def test_same_texts_give_the_same_figures_and_documents_stay_whole(write: Any) -> None:
    human, documents = write(48, 60, 1), [index // 6 for index in range(48)]
    first, second = (Reference.of(human, 12, clusters=documents, splits=20) for _ in range(2))
    own = write(12, 60, 5)
    one, other = measure(own, first), measure(own, second)
    assert [(each.value, each.interval) for each in one.values()] == [(each.value, each.interval) for each in other.values()]
    for a, b in first.halves:
        assert len(a) == len(b) == 12 and not set(a.tolist()) & set(b.tolist())
        assert len({documents[index] for index in a.tolist()} & {documents[index] for index in b.tolist()}) <= 1


def test_more_texts_than_the_reference_counts_are_used_through_subsets(write: Any) -> None:
    reference = Reference.of(write(24, 60, 1), 8, splits=30)
    many = write(24, 60, 2)
    figure = measure(many, reference)["self_bleu"]
    assert figure.value is not None and figure.interval is not None and figure.interval.n == 24
    with pytest.raises(ValueError, match="measured for 8"):
        measure(many[:7], reference)
    with pytest.raises(ValueError, match="two halves"):
        Reference.of(many[:10], 8)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_crash_nothing_and_never_look_good(text: str, write: Any) -> None:
    reference = Reference.of(write(12, 60, 1), 4, splits=10)
    for figure in measure([text] * 4, reference).values():
        assert figure.value is None or math.isfinite(figure.value)
        assert figure.value is not None or figure.place == "outside"


def test_a_planted_phrase_leads_the_overuse_table_with_its_sentence(write: Any) -> None:
    human, own = write(60, 100, 1), write(30, 100, 2)
    own = [f"{text} Moreover a rich tapestry unfolds {index}." for index, text in enumerate(own)]
    halves = Reference.of(human, 20, splits=20).halves
    rows = overused(own, human, halves)
    assert "tapestry" in rows[0].phrase or "rich" in rows[0].phrase or "unfolds" in rows[0].phrase or "moreover" in rows[0].phrase
    assert rows[0].human_rate == 0 and rows[0].ratio > rows[0].limit and "tapestry" in rows[0].example
    assert len(overused(write(30, 100, 3), human, halves)) <= 20
    assert overused(["", "😀"], human, halves) == []


def test_users_lists_count_whole_phrases_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "cliches.txt"
    path.write_text("# ours\nrich tapestry\n\nDelve\n", encoding="utf-8")
    row = list_rate(
        "cliches", read_phrases(path), ["We delve into a rich tapestry.", "Delved not."], ["Plain words here.", "More of them."]
    )
    assert row.rate.mean == pytest.approx(1000 * (2 / 6) / 2) and row.human_rate.mean == 0
    assert dict(row.top) == {"delve": 1, "rich tapestry": 1}
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="no phrase"):
        read_phrases(path)


def test_voice_knows_writers_it_learnt_and_doubts_what_it_cannot_tell(write: Any) -> None:
    plain = write(40, 80, 1)
    shouting = [text.replace(".", "!").replace(" w1", " I w1") for text in write(40, 80, 2)]
    human = {"plain": plain, "loud": shouting}
    documents: dict[str, list[Any]] = {"plain": list(range(40)), "loud": list(range(40))}
    report = voice_consistency(write(20, 80, 3), "plain", human, documents)
    assert report.trusted and report.share.mean > 0.9 and report.human_share.mean > 0.9
    assert sum(report.nearest.values()) == 20
    twins = voice_consistency(
        write(20, 80, 3), "plain", {"plain": plain, "twin": write(40, 80, 9)}, {"plain": documents["plain"], "twin": documents["loud"]}
    )
    assert not twins.trusted and twins.balanced.low <= 0.5 <= twins.balanced.high
    with pytest.raises(ValueError, match="two or more styles"):
        Voices.of({"plain": plain})


def test_a_classifier_that_always_says_own_is_not_trusted(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    human = {"plain": write(40, 80, 1), "twin": write(40, 80, 9)}
    documents: dict[str, list[Any]] = {name: list(range(40)) for name in human}
    monkeypatch.setattr(Voices, "probabilities", lambda self, texts: np.tile([1.0, 0.0], (len(texts), 1)))
    report = voice_consistency(write(20, 80, 3), "plain", human, documents)
    assert report.human_share.mean == 1 and report.balanced.mean == 0.5 and not report.trusted


def test_voice_counts_documents_and_not_their_passages(write: Any) -> None:
    human = {"plain": write(40, 80, 1), "loud": [text.replace(".", "!") for text in write(40, 80, 2)]}
    apart: dict[str, list[Any]] = {name: list(range(40)) for name in human}
    few: dict[str, list[Any]] = {name: [index // 20 for index in range(40)] for name in human}
    own = write(20, 80, 3)
    wide, narrow = (voice_consistency(own, "plain", human, documents) for documents in (few, apart))
    assert narrow.trusted and not wide.trusted, "two documents a style are too few to trust it"
    assert (wide.balanced.clusters, narrow.balanced.clusters) == (4, 80) and wide.balanced.low < narrow.balanced.low
    one: dict[str, list[Any]] = {**apart, "loud": [0] * 40}
    assert not voice_consistency(own, "plain", human, one).trusted
    assert voice_consistency(own, "plain", human, apart, ["p"] * 20).share.low == -math.inf


def test_texts_of_one_document_have_figures_and_no_intervals(write: Any) -> None:
    reference = Reference.of(write(24, 60, 1), 8, splits=20)
    alone, apart = measure(write(8, 60, 2), reference, ["one"] * 8), measure(write(8, 60, 2), reference)
    assert {name: figure.value for name, figure in alone.items()} == {name: figure.value for name, figure in apart.items()}
    assert all(figure.interval is None and figure.place in ("unclear", "outside") for figure in alone.values())


def test_style_features_are_those_of_the_ruler(write: Any) -> None:
    human = write(30, 80, 1)
    ruler = StyleRuler.of(human)
    scaled = ruler(human)
    assert scaled.shape == (30, len(ruler.names))
    assert np.abs(scaled.mean(0)).max() < 0.2 and np.abs(scaled).max() <= 5
    assert ruler(["", *ODD]).shape == (1 + len(ODD), len(ruler.names))
    assert words("") == []


def _kind(words: str, sentence: int, documents: range) -> tuple[list[str], list[str]]:
    """Passages of documents of one kind, three each, and their names."""
    texts, names = [], []
    for document in documents:
        rng = np.random.default_rng(document)
        for _ in range(3):
            drawn = rng.choice(words.split(), 60)
            texts.append(" ".join(f"{word}." if (place + 1) % sentence == 0 else str(word) for place, word in enumerate(drawn)))
            names.append(f"{documents.start}-{document}")
    return texts, names


def test_documents_of_two_kinds_on_both_sides_are_dealt_anew_as_far_apart_and_one_kind_a_side_is_not() -> None:
    """Whatever differs among documents is chance where both sides have it: halves of one side alone would call it a difference."""
    sea, law = "the old sea and a ship went down in cold wind over us", "this act shall be law for any such person under section nine"
    terse, long_ = (
        [_kind(sea, 4, range(start, start + 5)) for start in (0, 100)],
        [_kind(law, 12, range(start, start + 5)) for start in (0, 100)],
    )
    mixed = [(terse[side][0] + long_[side][0], terse[side][1] + [f"l{name}" for name in long_[side][1]]) for side in (0, 1)]
    apart = [(kind[0][0] + kind[1][0], kind[0][1] + kind[1][1]) for kind in (terse, long_)]
    p = {
        how: dealt_anew(one[0], other[0], (one[1], other[1]), ["sentence_length_w1", "same_opener_rate"], deals=199)
        for how, (one, other) in {"mixed": mixed, "apart": apart}.items()
    }
    assert p["mixed"] > 0.1 and p["apart"] <= 0.01
