import math
import random
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.metrics import lexical, repetition
from timbre.metrics.distribution import GramCounts, sentence_lengths, wasserstein
from timbre.metrics.measuring import Reference, figure_row, measure
from timbre.metrics.style_features import SHAPE, raw_features
from timbre.metrics.wrong_script import wrong_script_rates
from timbre.words import pieces, scripts, sentences, tokens, words

VOCABULARY = ["the", "a", "sea", "ship", "and", "of", "mast", "gull", "storm", "it"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)
ODD_TEXTS = [
    "",
    "   \n",
    "😀😀 😀",
    "!!! ... ???",
    "مرحبا بالعالم. كيف حالك؟",
    "你好。世界很大。",
    "word",
    "�\u200f\u202e",
    "a. b. c. d. e.",
    "\x00 \x07",
]


def slow_self_bleu(texts: list[str]) -> float:
    """Straight from the definition, one text at a time."""
    sequences = [words(text) for text in texts]
    total = 0.0
    for index, candidate in enumerate(sequences):
        references = sequences[:index] + sequences[index + 1 :]
        logs = []
        for n in range(1, 5):
            grams = Counter(lexical.ngrams(candidate, n))
            best: Counter[tuple[str, ...]] = Counter()
            for reference in references:
                best |= Counter(lexical.ngrams(reference, n))
            matched = sum(min(count, best[gram]) for gram, count in grams.items())
            if n == 1 and not matched:
                break
            logs.append(math.log((matched or 0.1) / max(sum(grams.values()), 1)))
        else:
            nearest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
            total += math.exp(sum(logs) / 4) * math.exp(min(0.0, 1 - nearest / len(candidate)))
    return total / len(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_self_bleu_is_that_of_the_slow_definition(texts: list[str], choice: random.Random) -> None:
    measure = repetition.SelfBleu(texts)
    assert measure(range(len(texts))) == pytest.approx(slow_self_bleu(texts), abs=1e-9)
    subset = sorted(choice.sample(range(len(texts)), choice.randint(2, len(texts))))
    assert measure(subset) == pytest.approx(slow_self_bleu([texts[index] for index in subset]), abs=1e-9)


def test_self_bleu_is_one_for_copies_and_none_for_strangers() -> None:
    copies = ["the old gull drifted near the golden mast"] * 3
    assert repetition.SelfBleu(copies)(range(3)) == pytest.approx(1.0)
    assert repetition.SelfBleu(["one two three four five", "six seven eight nine ten"])([0, 1]) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_wasserstein_is_that_of_scipy(first: list[int], second: list[int]) -> None:
    from scipy.stats import wasserstein_distance

    ours = wasserstein(np.array(first), np.array(second))
    assert ours == pytest.approx(wasserstein_distance(first, second), abs=1e-9)
    assert ours == pytest.approx(wasserstein(np.array(second), np.array(first)))


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=6))
def test_distances_of_word_frequencies_follow_their_definition(texts: list[str]) -> None:
    from scipy.spatial.distance import jensenshannon

    counts = GramCounts(texts)
    first, second = [0], list(range(1, len(texts)))
    bags = [Counter(word for index in side for word in tokens(texts[index])) for side in (first, second)]
    vocabulary = sorted(bags[0] | bags[1])
    p, q = (np.array([bag[word] for word in vocabulary], float) / max(bag.total(), 1) for bag in bags)
    assert counts.l2(first, second) == pytest.approx(float(np.linalg.norm(p - q)), abs=1e-12)
    assert counts.l2(second, second) == 0.0
    if bags[0] and bags[1]:
        assert counts.jsd(first, second) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
        assert 0 <= counts.jsd(first, second) <= 1 + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=90))
def test_mattr_is_the_mean_over_all_windows(sequence: list[str]) -> None:
    windows = [sequence[start : start + 50] for start in range(max(len(sequence) - 49, 1))]
    expected = float(np.mean([len(set(window)) / len(window) for window in windows]))
    assert lexical.mattr(" ".join(sequence)) == pytest.approx(expected)


def test_simple_figures_by_hand() -> None:
    text = "The sea rose. The sea fell. Then the gulls came. The end."
    assert lexical.hapax_share(text) == pytest.approx(6 / 12)
    assert lexical.distinct(text, 2) == pytest.approx(10 / 11)
    assert repetition.same_opener_rate(text) == pytest.approx(2 / 4)
    assert repetition.opener_run(text) == 0.0
    assert repetition.opener_run("I go. I see. I leave.") == 1.0
    assert repetition.opener_run("I go. I see.") is None
    assert repetition.self_repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition.gzip_ratio(["abc", "def"]) == pytest.approx(7 / len(zlib.compress(b"abc\ndef", 9)))
    assert sentence_lengths(text).tolist() == [3, 3, 4, 2]


def test_repeating_text_is_found_more_repetitive() -> None:
    varied = " ".join(f"word{n} follows thing{n * 7 % 100}" for n in range(60))
    looped = "the gull drifted near the mast " * 30
    assert repetition.gzip_ratio([looped]) > 2 * repetition.gzip_ratio([varied])
    assert (lexical.mtld(varied) or 0) > 3 * (lexical.mtld(looped) or math.inf)
    assert (lexical.mattr(varied) or 0) > (lexical.mattr(looped) or 1)


def test_words_sentences_and_scripts_of_many_languages() -> None:
    assert words("It’s a well-known “Thing”: café, 你好, мир!") == ["it’s", "a", "well-known", "thing", "café", "你", "好", "мир"]
    assert tokens("No, no…") == ["no", ",", "no", "…"]
    assert sentences('He said "Go!" Then he left. Why? No end') == ['He said "Go!', "Then he left.", "Why?", "No end"]
    assert sentences("One\n\nTwo. 你好。世界") == ["One", "Two.", "你好。", "世界"]
    assert sentences("... !!! 😀") == []
    assert scripts("ab Ж 你 😀 1") == {"LATIN": 2, "CYRILLIC": 1, "CJK": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]), ("צה\u05f4ל", ["צה\u05f4ל"]), ("שָׁלוֹם עֲלֵיכֶם", ["שָׁלוֹם", "עֲלֵיכֶם"]),
        ("لُغَةٌ جميلة", ["لُغَةٌ", "جميلة"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
        ("か\u3099東・京ー", ["か\u3099", "東", "京", "ー"]),
        ("\U00020000\U00020001", ["\U00020000", "\U00020001"]),
        ("สวัสดีครับ", ["สวัสดีครับ"]),
    ],
)  # fmt: skip
def test_a_word_keeps_the_marks_that_stand_on_its_letters(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert list(pieces(text, len(expected))) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("كيف حالك؟ أنا بخير.", ["كيف حالك؟", "أنا بخير."]), ("یہ گھر ہے۔ وہ باغ ہے۔", ["یہ گھر ہے۔", "وہ باغ ہے۔"]),
        ("यह घर है। वह बाग है।यह ॥१॥ गीत", ["यह घर है।", "वह बाग है।", "यह ॥१॥", "गीत"]),
        ("「行く。」そして帰る。終わり", ["「行く。", "そして帰る。", "終わり"]),
        ("He paid 3.50. Then 1.5 more", ["He paid 3.50.", "Then 1.5 more"]),
    ],
)  # fmt: skip
def test_sentences_end_where_their_script_ends_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_question_is_one_in_every_script() -> None:
    questions = ("Where is it? There it was.", "أين هو؟ كان هناك.", "在哪里？在那里。")
    asks = SHAPE.index("sentences that ask or exclaim")
    assert [raw_features(text, ())[asks] for text in questions] == [0.5] * 3


def test_symbols_and_forms_of_letters_are_no_scripts_of_their_own() -> None:
    assert scripts("1ª 2º xⁿ Ａ K Å ﬁ") == {"LATIN": 8}
    assert scripts("5 µm, ℕ, 𝐀, rockʼn") == {"LATIN": 6}
    assert scripts("人々 ー ｱ") == {"CJK": 2, "KATAKANA": 2}
    human = ["The old gate is near the sea."] * 4
    assert wrong_script_rates(["A 5 µm film, the 1ª of xⁿ."], human) == (0.0, 0.0)
    assert wrong_script_rates(["The gate у моря."], human)[0] == 1.0


def compared(own: list[str], human: list[str], seed: int = 0, splits: int = 5) -> dict[str, dict[str, Any]]:
    """Every metric of `own` beside `human`, as summaries have it."""
    reference = Reference.of(human, min(len(own), len(human) // 2), seed=seed, splits=splits)
    return {name: figure_row(figure) for name, figure in measure(own, reference).items()}


@pytest.mark.parametrize("text", [*ODD_TEXTS, "the sea. " * 20_000, "x" * 200_000])
def test_odd_texts_crash_no_metric(text: str) -> None:
    human = [f"The sea rose {word}. It fell again, and nobody saw it." for word in ("high", "low", "fast", "slowly")]
    report = compared([text, "A gull cried. It flew away.", text], human)
    for figure in report.values():
        assert figure["value"] is None or math.isfinite(figure["value"])
        assert math.isfinite(figure["human"])


def test_texts_without_any_word_give_no_figure_rather_than_a_good_one() -> None:
    human = [f"The sea rose {word}. It fell again, and nobody saw it." for word in ("high", "low", "fast", "slowly")]
    report = compared(["", "", ""], human)
    for name in ("mattr", "same_opener_rate", "sentence_length_w1", "hapax_share"):
        assert report[name]["value"] is None and report[name]["place"] == "outside"
    assert report["unigram_l2"]["value"] > report["unigram_l2"]["human_high"]


def test_human_text_lies_in_its_own_band_and_looped_text_does_not(tiny_corpus_texts: list[tuple[str, str]]) -> None:
    texts = [text for _, text in tiny_corpus_texts]
    human, unseen = texts[:24], texts[24:36]
    own = compared(unseen, human, splits=200)
    names = ("unigram_l2", "sentence_length_w1", "gzip_ratio", "self_bleu", "mattr", "same_opener_rate")
    for name in names:  # six figures are looked at: three sigmas, not 1.64
        assert abs(own[name]["sigmas"]) <= 3
    looped = compared(["The gull drifted. " * 60] * 12, human, splits=200)
    for name in names:
        figure = looped[name]
        assert figure["value"] < figure["human_low"] if name == "mattr" else figure["value"] > figure["human_high"]


def test_nine_in_ten_fresh_human_sets_fall_into_the_band() -> None:
    random_numbers = np.random.default_rng(0)
    probability = 1 / np.arange(1, 400) ** 1.1
    probability /= probability.sum()

    def text() -> str:
        lengths = random_numbers.integers(4, 30, 5)
        return " ".join(" ".join(f"w{n}" for n in random_numbers.choice(399, size, p=probability)) + "." for size in lengths)

    inside: dict[str, list[bool]] = {}
    for trial in range(40):
        report = compared([text() for _ in range(8)], [text() for _ in range(16)], seed=trial, splits=30)
        for name in ("mattr", "hapax_share", "gzip_ratio", "unigram_l2", "sentence_length_w1"):
            figure = report[name]
            inside.setdefault(name, []).append(figure["human_low"] <= figure["value"] <= figure["human_high"])
    # 40 trials at 90%: below 75% or a band that is never left would come up less than once in a thousand runs
    for name, hits in inside.items():
        assert np.mean(hits) >= 0.75, name
    assert 0.8 <= np.mean([hit for hits in inside.values() for hit in hits]) < 1


def test_a_letter_of_a_foreign_script_is_counted() -> None:
    human = ["The sea rose high. " * 20] * 3 + ["The letter Ж stands here. " + "The sea. " * 40]
    assert wrong_script_rates(["All fine", "Bad 你 here", "Старый", "😀 1 2"], human) == (0.5, 0.25)
