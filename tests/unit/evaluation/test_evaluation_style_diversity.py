"""The score by hand, the questions that calibration asks it, and its stage on a tiny model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.conftest import corpus_artifact, model_artifact
from timbre.artifacts import ArtifactStore
from timbre.evaluation.calibration_stage import CalibrationConfig, calibration, two_sides
from timbre.metrics.calibration import LENGTHS, Calibration, TextSets, calibrate, shuffled
from timbre.metrics.measuring import Figure, Human
from timbre.metrics.style_diversity import gap_closed, style_diversity
from timbre.progress import SILENT

ANCHORS: dict[str, dict[str, float | None]] = {
    "greedy": {"mattr": 0.0, "self_bleu": 1.0, "unigram_jsd": 0.9},
    "temperature 2": {"mattr": 1.0, "self_bleu": 0.52, "unigram_jsd": 0.7},
}


def figure(name: str, value: float | None, mean: float = 0.5, sigma: float = 0.01) -> Figure:
    replicates = np.full(100, np.nan if value is None else value)
    return Figure(name, value, None, Human(mean, sigma, np.array([mean - sigma, mean + sigma])), replicates)


def figures(mattr: float | None = 0.5, self_bleu: float = 0.5, unigram_jsd: float = 0.5) -> dict[str, Figure]:
    return {each.name: each for each in (figure("mattr", mattr), figure("self_bleu", self_bleu), figure("unigram_jsd", unigram_jsd))}


def scores(**values: Any) -> dict[str, float | None]:
    return {metric.name: metric.score for metric in style_diversity(figures(**values), ANCHORS).metrics}


def test_score_by_hand() -> None:
    assert style_diversity(figures(), ANCHORS).value == pytest.approx(100)
    assert scores(mattr=0.5 + 1.64 * 0.01)["mattr"] == pytest.approx(100)  # the band is free
    expected = 100 * (1 - (0.3 - 0.0164) / (0.5 - 0.0164))
    assert scores(mattr=0.2)["mattr"] == pytest.approx(expected)
    score = style_diversity(figures(mattr=0.2), ANCHORS)
    assert score.value == pytest.approx((expected * 100 * 100) ** (1 / 3))
    assert (score.low, score.high) == pytest.approx((score.value, score.value))


def test_nearer_anchor_of_the_candidates_side_counts_or_else_the_other_sides_mirrored() -> None:
    by_name = {metric.name: metric for metric in style_diversity(figures(unigram_jsd=0.7, self_bleu=0.0), ANCHORS).metrics}
    assert by_name["unigram_jsd"].score == pytest.approx(0) and by_name["unigram_jsd"].anchor == "temperature 2"
    # Temperature 2 is within 4σ of human self-BLEU and can tell nothing; greedy is mirrored.
    assert by_name["self_bleu"].anchor == "greedy, mirrored" and by_name["self_bleu"].score == pytest.approx(0)


def test_metric_without_a_telling_anchor_is_dropped_and_a_group_without_metric_gives_no_score() -> None:
    dull = {name: values | {"self_bleu": 0.53} for name, values in ANCHORS.items()}
    score = style_diversity(figures(), dull)
    assert score.value is None and score.low is None and "4σ" in score.dropped["self_bleu"]
    assert "repetition" not in score.groups


def test_a_group_that_fails_is_made_up_for_by_nothing_and_silence_scores_nothing() -> None:
    assert style_diversity(figures(unigram_jsd=2.0), ANCHORS).value == 0
    assert scores(mattr=None)["mattr"] == 0


def test_worse_half_is_never_kinder() -> None:
    given = figures(mattr=0.3, self_bleu=0.7) | {"mtld": figure("mtld", 0.5)}
    anchors = {name: values | {"mtld": values["mattr"]} for name, values in ANCHORS.items()}
    kind, strict = (style_diversity(given, anchors, definition).value for definition in ("group means", "worse half of each group"))  # type: ignore[arg-type]
    assert kind is not None and strict is not None and strict < kind


def test_gap_closed_is_the_share_of_the_bases_excess_that_is_gone() -> None:
    base = figure("mattr", 0.5164 + 0.2)
    assert gap_closed(figure("mattr", 0.5164 + 0.1), base) == pytest.approx(0.5)
    assert gap_closed(figure("mattr", 0.5), base) == 1.0
    assert gap_closed(figure("mattr", 0.5164 + 0.4), base) == pytest.approx(-1.0)
    assert gap_closed(base, figure("mattr", 0.51)) is None
    assert gap_closed(figure("mattr", None), base) is None


@pytest.fixture(scope="module")
def sets(write: Any) -> dict[float, TextSets]:
    def at(words: int) -> TextSets:
        names = {
            "greedy_anchor": (2, "greedy"),
            "hot_anchor": (3, "hot"),
            "human": (4, "human"),
            "greedy": (5, "greedy"),
            "hot": (6, "hot"),
        }
        made = {name: write(32, words, seed, habit) for name, (seed, habit) in names.items()}
        reference = write(64, words, 1)
        return TextSets(reference, [str(index // 2) for index in range(64)], base=write(32, words, 7, "base"), **made)

    return {length: at(round(100 * length)) for length in LENGTHS}


@pytest.fixture(scope="module")
def calibrated(sets: dict[float, TextSets]) -> Calibration:
    return calibrate(sets, splits=40)


def test_calibration_orders_human_base_and_greedy_text(calibrated: Calibration) -> None:
    value = {check.name: check for check in calibrated.checks}
    for name in ("unseen human text", "base, greedy", "base at temperature 2", "base at temperature 1"):
        assert value[name].passed, calibrated.failures()
    human, base, greedy = (calibrated.scores[name] or 0.0 for name in ("human", "base", "greedy"))
    assert human > base > greedy
    assert calibrated.passed == (not calibrated.failures())
    assert json.loads(json.dumps(calibrated.summary()))["passed"] == calibrated.passed


def test_calibration_finds_a_score_that_takes_machine_text_for_human(sets: dict[float, TextSets]) -> None:
    wrong = {length: replace(each, human=each.base, base=each.human) for length, each in sets.items()}
    found = calibrate(wrong, splits=20)
    assert not found.passed and any("unseen human text" in failure for failure in found.failures())
    assert set(found.refused) == {"group means", "worse half of each group"} - {found.definition} or len(found.refused) == 1


def test_calibration_needs_every_length_and_some_texts(sets: dict[float, TextSets]) -> None:
    with pytest.raises(ValueError, match=r"1\.25"):
        calibrate({length: each for length, each in sets.items() if length != 1.25})
    with pytest.raises(ValueError, match="4 are the least"):
        calibrate({length: replace(each, base=each.base[:3]) for length, each in sets.items()})


def test_shuffling_keeps_the_words() -> None:
    text = "The sea rose, and the gull cried out."
    assert sorted(shuffled(text, 0).split()) == sorted(text.split()) and shuffled(text, 0) == shuffled(text, 0) != text


def test_stage_generates_both_sides_from_different_writers_and_checks_itself(
    tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    from timbre.corpus.documents import read_documents

    tiny_store = ArtifactStore(tmp_path / "store", SILENT)
    model, corpus = model_artifact(tiny_store, tiny_model_dir), corpus_artifact(tiny_store, tiny_corpus_texts)
    first, second = two_sides(read_documents(corpus), 0)
    assert not {document.author for document in first} & {document.author for document in second} and first and second
    config = CalibrationConfig(prompts=6, prompt_tokens=8, new_tokens=40)
    one = calibration(config, model, corpus, tiny_store)
    rows = [json.loads(line) for line in one.file("texts.jsonl").read_text().splitlines()]
    assert {row["set"] for row in rows} == {"reference", "greedy_anchor", "hot_anchor", "human", "greedy", "hot", "base"}
    assert {row["length"] for row in rows} == set(LENGTHS)
    documents = {name: {row["document"] for row in rows if row["set"] == name} for name in ("reference", "human", "hot_anchor", "hot")}
    assert not documents["reference"] & documents["human"] and not documents["hot_anchor"] & documents["hot"]
    summary = one.json("calibration.json")
    assert summary["count"] == 6 and len(summary["checks"]) == 6 and summary["encoder"] is None
    again = calibration(config, model, corpus, ArtifactStore(tmp_path / "other", SILENT))
    assert again.digest == one.digest
