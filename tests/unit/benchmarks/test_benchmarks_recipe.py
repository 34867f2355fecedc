"""The recipe benchmark: what it says of figures, and that its targets are the release's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import benchmarks.store
from benchmarks.recipe_verdict import Setting, better_calibrated, likelier, nearer, verdict
from benchmarks.recipes import PLAIN, RECIPES, SMALL, chosen
from benchmarks.store import material, weigh
from benchmarks.tiny import tiny_corpus, tiny_model
from benchmarks.trial import Trial
from timbre import road
from timbre.artifacts import ArtifactStore
from timbre.evaluation.measuring import Figure, Human
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT
from timbre.store import TargetReader
from timbre.targets.stage import build_target

METRICS = ("mattr", "self_bleu", "unigram_l2")


def likelihood(nll: float, entropy: float) -> list[dict[str, Any]]:
    """Twelve passages of ten tokens in four documents, of uneven difficulty."""
    return [
        {"item": f"d{n % 4}#{n}", "cluster": f"d{n % 4}", "nll": 10 * nll + n, "entropy": 10 * entropy + n, "tokens": 10} for n in range(12)
    ]


def figures(sigmas: float, noise: float = 0.2) -> Mapping[str, Figure]:
    """Every metric this far from human text, its replicates scattered a little."""
    scatter = np.random.default_rng(0).normal(0, noise, 100)
    human = Human(1.0, 0.1, np.ones(5))
    return {name: Figure(name, 1 + 0.1 * sigmas, None, human, 1 + 0.1 * (sigmas + scatter)) for name in METRICS}


def setting(name: str, nll: float, sigmas: float, entropy: float = 4.0, temperature: float = 1.0, noise: float = 0.2) -> Setting:
    recipe = RECIPES[name]
    return Setting(name, temperature, recipe.distribution, recipe.rival, likelihood(nll, entropy), figures(sigmas, noise))


def test_the_recipe_is_chosen_on_validation_and_judged_on_test() -> None:
    validation = [setting("sft", 4.1, 5), setting("sft", 4.15, 3, temperature=0.9), setting("dft", 4.11, 6), setting("cool", 4.1, 2)]
    test = [setting("sft", 4.1, 5), setting("sft", 4.15, 3, temperature=0.9), setting("dft", 4.1, 0.5), setting("cool", 4.1, 1)]
    found = verdict(validation, test, PLAIN)
    assert found["default"] == "cool", "what is nearest on test has no say"
    assert (found["sft_nearest"], found["sft_likeliest"]) == ("sft at T = 0.9", "sft at T = 1")
    assert found["beats_sft"] and found["outcome"] == "beats"
    assert found["nearer_sigma"]["mean"] == pytest.approx(2)
    assert (found["metrics_won"], found["metrics_compared"]) == (3, 3)
    assert "beats SFT" in found["sentence"] and "cool" in found["sentence"]


@pytest.mark.parametrize(
    ("nll", "sigmas", "outcome"),
    [(4.1, 8.0, "loses to"), (4.1, 5.0, "ties with"), (4.2, 1.0, "ties with"), (4.0, 1.0, "beats")],
    ids=["farther", "as far", "nearer but less likely", "nearer and likelier"],
)
def test_beating_takes_both_samples_and_likelihood(nll: float, sigmas: float, outcome: str) -> None:
    sft, dft = setting("sft", 4.1, 5), setting("dft", nll, sigmas)
    assert verdict([sft, dft], [sft, dft], PLAIN)["outcome"] == outcome


def test_a_recipe_beyond_the_margin_of_likelihood_is_not_chosen() -> None:
    rows = [setting("sft", 4.1, 5), setting("dft", 4.11, 4), setting("alpha-25", 4.3, 1)]
    assert verdict(rows, rows, PLAIN)["default"] == "dft"
    far = [setting("sft", 4.1, 5), setting("dft", 4.3, 4)]
    found = verdict(far, far, PLAIN)
    assert not found["default_nll_within_margin"] and "none stays within" in found["sentence"]


def test_without_a_recipe_nothing_is_claimed() -> None:
    rows = [setting("sft", 4.1, 5)]
    assert verdict(rows, rows, PLAIN)["beats_sft"] is None


def test_differences_are_paired_and_signed_towards_better() -> None:
    sft, dft = setting("sft", 4.1, 5, entropy=3.7), setting("dft", 4.0, 2, entropy=4.2)
    assert likelier(dft, sft).mean == pytest.approx(0.1) and likelier(dft, sft).low == pytest.approx(0.1), "difficulty cancels"
    calibrated = better_calibrated(dft, sft)
    assert [sft.gap, dft.gap] == pytest.approx([0.4, -0.2]) and calibrated.mean == pytest.approx(0.2)
    gain = nearer(dft, sft)
    assert gain.mean == pytest.approx(3) and gain.low == pytest.approx(gain.high, abs=1e-9), "the same halves, the same noise"


def test_an_unknown_recipe_is_a_sentence_and_the_baseline_always_comes_along() -> None:
    assert [recipe.name for recipe in chosen("cool")] == ["sft", "dft", "cool"]
    with pytest.raises(ValueError, match=r"unknown recipe warm: choose of base, sft"):
        chosen("warm")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    store = ArtifactStore(tmp_path_factory.mktemp("trial"), SILENT)
    size = replace(SMALL, train_tokens=1_152, admission_tokens=384)
    return Trial(size, tiny_model(store), tiny_corpus(store), PROJECT_ROOT / "data" / "replay" / "replay.jsonl", store)


def test_targets_of_shared_references_are_the_releases_own_bytes(trial: Trial) -> None:
    ours = trial.target(RECIPES["cool"])
    theirs = build_target(trial.size.target(RECIPES["cool"], trial.seed), trial.corpus, trial.model, trial.store)
    assert ours.manifest.files == theirs.manifest.files and len(ours.manifest.files) > 5


def test_the_store_benchmark_scores_the_passages_of_the_target_that_stands(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    target = trial.target(RECIPES["cool"])
    monkeypatch.setattr(road, "find", lambda *_: {"model": trial.model, "corpus": trial.corpus, "target": target})
    found = material("literary", 200, small=False)
    assert target.digest[:12] in found.source and found.target == target.path
    for scored, stored in zip(found.rows, TargetReader(target.path), strict=False):
        assert np.array_equal(scored.token_ids_T, stored.token_ids_T)
        np.testing.assert_allclose(scored.probs_TK.sum(axis=1) + scored.tail_T, 1, atol=1e-6)  # float32 logits
    assert sum(len(row) for row in found.rows) >= 200
    assert weigh(target.path)["target_tokens"] == sum(len(row.token_ids_T) for row in TargetReader(target.path))


def test_without_a_model_rows_are_generated_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ValueError("the model was never fetched")

    monkeypatch.setattr(road, "find", missing)
    monkeypatch.setattr(benchmarks.store, "synthetic_rows", lambda *_: [])
    assert material("literary", 10, small=False).source == "generated from a seed: the model was never fetched"
