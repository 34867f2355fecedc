"""Told apart: the protocol is the published one, human text is not told from human text, and unlike sides are refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from timbre.metrics.families import MASK, frame_words, masked
from timbre.metrics.told_apart import WIDEN, Side, ToldApart, human_halves, told_apart
from timbre.statistics.roc import null_error

COUNT, DOCUMENTS = 60, 12
SETTINGS: dict[str, dict[str, Any]] = {
    "characters": {"analyzer": "char", "ngram_range": (2, 5), "min_df": 3, "lowercase": True},
    "words": {"analyzer": "word", "token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2), "min_df": 2, "lowercase": False},
}


def plain_area(own: Side, human: Side, family: str) -> float:
    """The protocol in its plainest form: TF-IDF and logistic regression, five folds by document, pooled scores."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    texts = [*own.texts, *human.texts]
    labels = np.r_[np.ones(len(own)), np.zeros(len(human))]
    scores = np.zeros(len(labels))
    for train, test in GroupKFold(5).split(texts, labels, np.array([*own.documents, *human.documents])):
        vectors = TfidfVectorizer(sublinear_tf=True, **SETTINGS[family])
        model = make_pipeline(vectors, LogisticRegression(C=10, max_iter=2000)).fit([texts[i] for i in train], labels[train])
        scores[test] = model.decision_function([texts[i] for i in test])
    return float(roc_auc_score(labels, scores))


def tics(texts: Sequence[str]) -> list[str]:
    """The same prose by a writer who says two words too often."""
    return [
        " ".join("whispered" if n % 11 == 3 else "testament" if n % 17 == 5 else word for n, word in enumerate(text.split()))
        for text in texts
    ]


def documents(count: int = COUNT, groups: int = DOCUMENTS) -> list[str]:
    """Uneven: the first documents hold more."""
    return [f"d{int(groups * (n / count) ** 1.3)}" for n in range(count)]


@pytest.fixture(scope="module")
def human(write: Any) -> Side:
    return Side(write(COUNT, 60, 1), documents())


@pytest.fixture(scope="module")
def others(write: Any) -> Side:
    return Side(write(COUNT, 60, 2), documents())


@pytest.fixture(scope="module")
def arms(write: Any, human: Side, others: Side) -> dict[float, ToldApart]:
    """Share of human texts among the texts of an arm → what is found."""
    fresh, machine = write(COUNT, 60, 3), tics(write(COUNT, 60, 4))

    def arm(share: float) -> Side:
        return Side([fresh[n] if (n * 7) % COUNT < share * COUNT else machine[n] for n in range(COUNT)], documents())

    return {share: told_apart(arm(share), human, others) for share in (0.0, 0.25, 0.5, 1.0)}


@pytest.mark.parametrize("family", SETTINGS)
@pytest.mark.parametrize("habit", ["base", "human", "hot"])
def test_it_is_the_published_protocol_on_the_same_texts(family: str, habit: str, write: Any, human: Side) -> None:
    own = Side(write(COUNT, 60, 9, habit), documents())
    assert told_apart(own, human).families[family].auc.mean == pytest.approx(plain_area(own, human, family), abs=0.005)


def test_the_more_human_text_an_arm_holds_the_less_it_is_told_apart(arms: dict[float, ToldApart]) -> None:
    for family in ("characters", "words"):
        areas = [arms[share].families[family].auc.mean for share in (0.0, 0.25, 0.5, 1.0)]
        assert areas == sorted(areas, reverse=True) and areas[0] > 0.9, (family, areas)
        assert abs(areas[-1] - 0.5) < 2.58 * WIDEN * null_error(COUNT, COUNT), "human text is not told from human text"


def test_human_text_sets_the_floor_at_the_same_count(arms: dict[float, ToldApart], human: Side) -> None:
    floors = {apart.family: apart.floor for apart in arms[0.0].families.values()}
    assert all(floor is not None and floor.n == 2 * COUNT for floor in floors.values())
    assert all(abs(floor.mean - 0.5) < 2.58 * WIDEN * null_error(COUNT, COUNT) for floor in floors.values() if floor)
    alone = told_apart(human, Side(human.texts, human.documents))
    assert all(apart.floor is None for apart in alone.families.values()), "no floor is made up from too few human texts"


def test_documents_that_both_sides_share_are_dealt_to_both_halves(human: Side, others: Side) -> None:
    pool = human + others
    first, second = human_halves(pool.documents, COUNT, shared=True, seed=0) or ([], [])
    assert not set(first) & set(second) and len(first) == len(second) == COUNT
    counts = [np.unique([pool.documents[n] for n in half], return_counts=True)[1] for half in (first, second)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    apart = human_halves(pool.documents, COUNT, shared=False, seed=0) or ([], [])
    assert len({pool.documents[n] for n in apart[0]} & {pool.documents[n] for n in apart[1]}) <= 1
    assert human_halves(human.documents, COUNT, shared=True, seed=0) is None


@pytest.mark.parametrize("shared", [True, False])
def test_a_floor_of_few_long_documents_is_measured_or_says_why_not(shared: bool, write: Any) -> None:
    """The head of a file with long documents held fewer documents than there are folds."""
    long = [f"d{n // 40}" for n in range(6 * 40)]
    halves = human_halves(long, COUNT, shared=shared, seed=0) or ([], [])
    assert [len(half) for half in halves] == [COUNT, COUNT] and not set(halves[0]) & set(halves[1])
    assert [len({long[n] for n in half}) for half in halves] == ([6, 6] if shared else [3, 3])
    own = Side(write(COUNT, 60, 5), documents(groups=12) if not shared else [f"d{n % 6}" for n in range(COUNT)])
    human = Side(write(COUNT, 60, 6), [f"h{n % 12}" for n in range(COUNT)] if not shared else own.documents)
    rest = Side(write(COUNT, 60, 7), [("d" if shared else "h") + str(n // 30) for n in range(COUNT)])
    found = told_apart(own, human, rest)
    assert {"characters", "words"} <= set(found.families)
    assert all((apart.floor is None) == bool(found.no_floor) for apart in found.families.values())
    assert found.no_floor == "" if shared else "10 a side are the least" in found.no_floor


def test_shares_of_prompts_add_up_to_the_area(arms: dict[float, ToldApart]) -> None:
    for apart in arms[0.5].families.values():
        assert apart.contributions.shape == (COUNT,) and apart.contributions.mean() == pytest.approx(apart.auc.mean)
        assert apart.auc.low < apart.auc.mean < apart.auc.high and apart.auc.clusters == DOCUMENTS


def test_what_gave_the_texts_away_stands_in_sentences_of_either_side(write: Any) -> None:
    human = [text.replace(" his ", " harbour ").replace(" was ", " harbour ") for text in write(COUNT, 60, 6)]
    found = told_apart(Side(tics(write(COUNT, 60, 5)), documents()), Side(human, documents()))
    ours, theirs = ([each for each in found.families["words"].telling if each.side == side] for side in ("own", "human"))
    assert {"whispered", "testament"} <= {each.feature for each in ours} and "harbour" in {each.feature for each in theirs}
    first = next(each for each in ours if each.feature == "testament")
    assert "testament" in first.own_sentence and first.own_texts >= 0.9 * COUNT and (first.human_texts, first.human_sentence) == (0, "")
    assert all(0 < each.share < 1 for each in (*ours, *theirs)) and found.families["characters"].telling == ()


def test_other_counts_and_other_lengths_are_refused_by_name(write: Any, human: Side) -> None:
    with pytest.raises(ValueError, match="59 texts are not compared with 60 human ones"):
        told_apart(human.of(range(59)), human)
    with pytest.raises(ValueError, match="texts of 90 words are not compared with human ones of 60"):
        told_apart(Side(write(COUNT, 90, 4), documents()), human)
    with pytest.raises(ValueError, match="2 documents: name the document of every text"):
        Side(["one"], ["a", "b"])


def test_too_little_text_is_not_measured_and_says_how_much_would_do(human: Side) -> None:
    few, one = human.of(range(19)), Side(human.texts, ["one"] * COUNT)
    assert told_apart(few, few).not_measured["words"] == "19 texts a side are too few to ask a classifier: 20 are the least"
    assert "texts of 1 documents make no 5 folds" in told_apart(one, one).not_measured["characters"]
    disjoint = Side(human.texts, [f"x{n % 9}" for n in range(COUNT)])
    for sides in ((disjoint, human), (human, disjoint), (one, human)):
        assert told_apart(*sides).families == {}, "one document against another is no comparison of writers"
    assert "10 a side are the least where the sides hold different documents" in told_apart(disjoint, human).not_measured["words"]
    assert told_apart(few, few).families == {}


def test_encoder_and_surprisal_are_read_where_they_are_handed_in(human: Side, others: Side) -> None:
    rng = np.random.default_rng(0)

    def with_arrays(side: Side, odd: float) -> Side:
        spread = rng.normal(size=(COUNT, 3)) * (1 + odd)  # unlike in both ways: no line tells it, squares do
        return Side(side.texts, side.documents, {"encoder": rng.normal(odd, 1, (COUNT, 16)), "surprisal": spread})

    found = told_apart(with_arrays(others, 2.0), with_arrays(human, 0.0), with_arrays(others, 0.0))
    assert found.families["encoder"].auc.mean > 0.95 and found.families["surprisal"].auc.mean > 0.8
    floor = found.families["encoder"].floor
    assert floor is not None and abs(floor.mean - 0.5) < 0.15
    without = told_apart(others, human, missing={"encoder": "needs the sentence encoder"})
    assert without.not_measured == {"encoder": "needs the sentence encoder", "surprisal": "nothing was handed in for it"}
    with pytest.raises(ValueError, match="the encoder array has 3 rows for 60 texts"):
        Side(human.texts, human.documents, {"encoder": np.zeros((3, 2))})


def test_the_frame_holds_no_subject() -> None:
    assert masked("The whale — it’s 40 feet, and Ahab’s!", frame_words(["the and of it"])) == f"the {MASK} — it's # {MASK} , and {MASK} !"
    other = frame_words(["der Wal und der See und das Boot"])
    assert {"der", "und"} <= other and "the" not in other


def lines(path: Path, texts: Sequence[str], names: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "cluster": name}) + "\n" for text, name in zip(texts, names, strict=True)))
    return path


def test_evaluate_says_how_well_texts_are_told_apart(home: Path, tmp_path: Path, write: Any) -> None:
    """Texts that were made to one length are taken whole, whatever --words says."""
    from timbre.cli import app

    own, other = Side(tics(write(COUNT, 60, 4)), documents()), Side(write(COUNT, 62, 1), documents())
    run = ["evaluate", str(lines(tmp_path / "own.jsonl", own.texts, own.documents)), "--against"]
    run += [str(lines(tmp_path / "human.jsonl", other.texts, other.documents)), "--page", str(tmp_path / "page.html")]
    told = json.loads(CliRunner().invoke(app, [*run, "--json"]).output.splitlines()[-1])["told_apart"]
    assert (told["of"], told["texts"], told["documents"], told["length_words"]) == ("whole texts", COUNT, DOCUMENTS, 61)
    for family in SETTINGS:
        assert told[family]["auc"] == pytest.approx(plain_area(own, other, family), abs=0.005)
        assert told[family]["low"] <= told[family]["auc"] <= told[family]["high"]
    assert "language model" in told["not_measured"]["surprisal"] and told["tells_from"] == pytest.approx(
        0.5 + 2.4865 * 1.5 * told["null_error"]
    )
    spoken = CliRunner().invoke(app, run)
    assert spoken.exit_code == 4 and "told apart" in spoken.output and "characters" in spoken.output


def test_evaluate_cuts_texts_of_unlike_lengths_before_it_tells_them_apart(tmp_path: Path, write: Any) -> None:
    from timbre.metrics.comparison import Request, compare_texts

    own = lines(tmp_path / "own.jsonl", tics(write(COUNT, 130, 4)), documents())
    human = lines(tmp_path / "human.jsonl", write(2 * COUNT, 60, 1), documents(2 * COUNT))
    told = compare_texts(Request(own, human, words=50)).told
    assert told.of == "passages of 50 words" and told.found is not None
    assert told.found.length_words == 50 and told.found.texts >= COUNT and told.found.families["words"].auc.mean > 0.8
    short = compare_texts(Request(own, lines(tmp_path / "short.jsonl", ["few words"] * 30, ["a"] * 30), words=50)).told
    assert short.found is None and short.summary() == {"of": "not measured: no text of 50 words on one side"}
