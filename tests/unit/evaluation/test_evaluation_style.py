"""A release's style figures: what a summary says of freely written texts beside human ones."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_inputs import EvaluationInputs, rows_of

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage
from timbre.config import EvaluationConfig, SamplerConfig, TrainingConfig, release_config
from timbre.evaluation.calibrated import read_calibrated
from timbre.evaluation.calibration_stage import CalibrationConfig, calibration_of
from timbre.evaluation.ranks import BINS, FIRST_RANKS, calibration_error, confidence_counts, rank_counts
from timbre.evaluation.style import HumanSide, measure_several, measure_style, measure_voice, style_score
from timbre.metrics.catalogue import METRICS
from timbre.pipeline import STEP, config_of, inputs_of, needs_of, steps_of
from timbre.progress import SILENT

ROW = {"group", "value", "low", "high", "human", "sigma", "human_low", "human_high", "sigmas", "place"}
Write = Callable[..., list[str]]


def rows(texts: list[str], human: list[str], kind: str = "style") -> list[dict[str, Any]]:
    pairs = enumerate(zip(texts, human, strict=True))
    return [
        {"kind": kind, "prompt_id": f"p{n}", "cluster": f"d{n}", "sample": 0, "text": text, "human": theirs} for n, (text, theirs) in pairs
    ]


@pytest.fixture(scope="module")
def human(write: Write) -> HumanSide:
    others = [{"cluster": f"o{n}", "text": text} for n, text in enumerate(write(24, 80, 2))]
    return HumanSide(rows([""] * 24, write(24, 80, 1)), others, seed=0, encoder=None)


def test_every_metric_is_there_two_sided_or_named_as_not_measured(base: Artifact) -> None:
    summary = base.json("summary.json")
    assert {*summary["style"], *summary["not_measured"]} == {metric.name for metric in METRICS}
    assert all(row.keys() >= ROW and row["human_low"] <= row["human"] <= row["human_high"] for row in summary["style"].values())
    assert sum(summary["sentence_lengths"]["human"]) > 0 and len(summary["sentence_lengths"]["own"]) == 81
    assert summary["style_instruction"].keys() == summary["style"].keys(), "3 tasks are measured beside 4 openings"
    assert summary["several"]["prompts"] == 2 and 1 <= summary["several"]["distinct_k"] <= 3
    assert "evaluation.score" in summary["no_score"] and "voice_against" in summary["no_voice"]


def test_ranks_count_every_scored_and_every_written_token(base: Artifact) -> None:
    summary = base.json("summary.json")
    assert sum(summary["ranks"]["human"]) == summary["likelihood"]["tokens"]
    assert sum(summary["ranks"]["sampled"]) == 4 * 40
    assert summary["ranks"]["from"] == list(FIRST_RANKS) and 0 <= summary["likelihood"]["ece"] <= 1


def test_items_of_texts_are_there_for_pairing(base: Artifact) -> None:
    assert {row["item"] for row in rows_of(base, "mattr")} <= {row["item"] for row in rows_of(base, "style_longest_span")}
    assert len(rows_of(base, "rare_word_rate")) == 4
    assert len(rows_of(base, "distinct_k")) == 2


def test_human_text_is_like_human_text_and_a_loop_is_not(human: HumanSide, write: Write) -> None:
    _, fair = measure_style(rows(write(24, 80, 7), [""] * 24), human)
    _, loop = measure_style(rows(write(24, 80, 7, "greedy"), [""] * 24), human)
    outside = [sum(row["place"] == "outside" for row in each["style"].values()) for each in (fair, loop)]
    assert outside[0] <= 3 and outside[1] >= 10
    assert len(loop["overused"]) > len(fair["overused"])
    assert all(row["example"] for row in loop["overused"])


def test_plain_texts_get_figures_of_their_own(prepared: EvaluationInputs, tmp_path: Path) -> None:
    changes = {"sampler": SamplerConfig(temperature=0.3), "several_prompts": 0, "instruction_prompts": 0, "sentinel_prompts": 0}
    summary = prepared.evaluated(ArtifactStore(tmp_path, SILENT), **changes).json("summary.json")
    assert summary["style_plain"].keys() == summary["style"].keys()
    assert summary["style_plain"]["unigram_l2"]["value"] != summary["style"]["unigram_l2"]["value"]
    assert "several" not in summary and "sentinel" not in summary


def test_copies_of_one_text_are_one_answer() -> None:
    same = [dict(row, prompt_id="p") for row in rows(["The sea rose high and fell."] * 4, [""] * 4, "several")]
    _, found = measure_several(same, None)
    assert found is not None and found["distinct_k"] == 1 and found["vendi"] == pytest.approx(1)
    assert measure_several([], None) == ([], None)


def test_voice_is_told_apart_from_the_styles_that_are_given(human: HumanSide, write: Write) -> None:
    voices = [{"style": "shouting", "cluster": f"v{n}", "text": text.upper() + "!"} for n, text in enumerate(write(30, 80, 5))]
    found, why = measure_voice(rows(write(24, 80, 9), [""] * 24), human, "quiet", voices)
    assert found is not None and why is None
    assert found["share"]["mean"] > 0.9 and found["nearest"].keys() == {"quiet", "shouting"}
    assert measure_voice([], human, "quiet", voices[:3])[0] is None


def test_human_text_of_other_styles_is_cut_like_this_one(prepared: EvaluationInputs, tmp_path: Path) -> None:
    config = prepared.config.of_prompts().model_copy(update={"voice_against": ("other",), "instruction_prompts": 0})
    inputs: dict[str, Input] = {"model": prepared.model, "corpus": prepared.corpus, "voice_other": prepared.corpus}
    prompts = ArtifactStore(tmp_path, SILENT).build(STEP["prompts"].stage, config, inputs)
    lines = [json.loads(line) for line in prompts.file("voices.jsonl").read_text().splitlines()]
    assert len(lines) == 8 and {line["style"] for line in lines} == {"other"} and all(line["text"] for line in lines)


@pytest.mark.parametrize(("style", "why"), [("literary", "is this style"), ("oratory", "has no corpus here")])
def test_a_voice_that_cannot_be_told_apart_is_refused(
    prepared: EvaluationInputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, style: str, why: str
) -> None:
    from timbre.settings import settings

    monkeypatch.setenv("TIMBRE_HOME", str(tmp_path))
    settings.cache_clear()
    config = release_config("literary", overrides={"evaluation.voice_against": [style]})
    with pytest.raises(ValueError, match=why):
        inputs_of(STEP["prompts"], config, {"model": prepared.model, "corpus": prepared.corpus})
    settings.cache_clear()


def test_the_score_is_there_where_its_calibration_passed_and_else_says_why(human: HumanSide, write: Write, tmp_path: Path) -> None:
    own = rows(write(24, 80, 7), [""] * 24)

    def calibrated(passed: bool) -> Artifact:
        texts = {"greedy_anchor": "greedy", "hot_anchor": "hot", "base": "base"}

        def build(_config: TrainingConfig, _inputs: Any, work: Any) -> None:
            lines = [
                {"set": name, "length": length, "text": text, "document": "d"}
                for length in (0.75, 1.0)
                for name, habit in texts.items()
                for text in write(24, round(80 * length), 11, habit)
            ]
            (work.output / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            checks = [{"name": "unseen human text", "required": "at least 95", "passed": passed}]
            (work.output / "calibration.json").write_text(json.dumps({"definition": "group means", "checks": checks}))

        return ArtifactStore(tmp_path, SILENT).build(Stage("calibration", 1, build), TrainingConfig(seed=int(passed)), {})

    found = style_score(own, human, read_calibrated(calibrated(True), "made", 1.0))
    assert found["diversity_score"]["value"] > 80 and found["diversity_score"]["definition"] == "group means"
    assert any(gap is not None for gap in found["gap_closed"].values())
    assert "sentence" not in found["diversity_score"] and found["gap_closed_base"] == "at temperature 1, nothing cut off"
    more = style_score(own, human, replace(read_calibrated(calibrated(True), "made", 1.0), count=100))["diversity_score"]
    assert more["value"] == found["diversity_score"]["value"] and "sets of 100 texts and is used with 24" in more["sentence"]
    alone = style_score([row | {"cluster": "d"} for row in own], human, read_calibrated(calibrated(True), "made", 1.0))["diversity_score"]
    assert alone["value"] == found["diversity_score"]["value"] and alone["low"] is alone["high"] is None
    assert style_score(own, human, read_calibrated(calibrated(False), "made"))["no_score"].startswith("its calibration fails")
    assert "diversity_score" not in style_score(own, human, None)


def test_ranks_fall_into_doubling_bins_and_none_is_lost() -> None:
    ranks = [0, 1, 2, 3, 4, 7, 8, 2**30]
    counts = rank_counts(ranks)
    assert counts[:5] == [1, 1, 2, 2, 1] and counts[-1] == 1 and sum(counts) == len(ranks) and len(counts) == BINS
    for rank in ranks[:-1]:
        assert rank_counts([rank])[max(n for n, first in enumerate(FIRST_RANKS) if first <= rank)] == 1


def test_calibration_error_is_0_for_a_predictor_that_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    hits = rng.random(200_000) < confidence
    assert calibration_error([{"confidence": confidence_counts(confidence, hits)}]) < 0.01
    half = {"confidence": confidence_counts(np.ones(100), np.arange(100) < 50)}
    assert math.isclose(calibration_error([half, half]), 0.5)


def test_a_release_has_a_baseline_and_a_calibration_only_where_it_asks_for_them() -> None:
    quick, standard = release_config("literary"), release_config("literary", "standard")
    with_sft = release_config("literary", overrides={"baseline.objective": "sft"})
    names = {step.name for step in steps_of(quick)}
    assert names == {step.name for step in steps_of(standard)} - {
        "calibration", "misuse", "base_misuse", "baseline_adapter", "baseline_generations", "baseline_evaluation"
    }  # fmt: skip
    assert {step.name for step in steps_of(with_sft)} - names == {"baseline_adapter", "baseline_generations", "baseline_evaluation"}
    assert "baseline" not in needs_of(STEP["verdict"], quick) and needs_of(STEP["verdict"], with_sft)["baseline"] == "baseline_evaluation"
    assert config_of(STEP["baseline_adapter"], with_sft) == with_sft.training.model_copy(update={"objective": "sft"})
    with pytest.raises(ValueError, match="gate needs the bundle first"):
        inputs_of(STEP["verdict"], quick, {})


def test_the_score_of_a_release_reads_the_calibration_that_make_calibration_builds() -> None:
    evaluation = release_config("literary", "standard").evaluation
    assert calibration_of(evaluation) == CalibrationConfig()
    assert calibration_of(EvaluationConfig(prompts=400, new_tokens=256)).prompts == 400
