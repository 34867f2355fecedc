"""The recipe benchmark: what it says of figures, and that its targets are the release's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import benchmarks.recipe
import benchmarks.store
from benchmarks.recipe import try_out
from benchmarks.recipe_verdict import Setting, better_calibrated, likelier, nearer, verdict
from benchmarks.recipes import FULL, PLAIN, RECIPES, SMALL, Recipe, chosen
from benchmarks.store import AT_LEAST, GOALS, ReferenceRows, judged, reference_rows, rows_of_reference, weigh
from benchmarks.tiny import tiny_corpus, tiny_model
from benchmarks.trial import Trial
from timbre.artifacts import ArtifactStore
from timbre.metrics.measuring import Figure, Human
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


def test_the_store_benchmark_scores_each_passage_by_the_adapter_that_never_saw_it(trial: Trial) -> None:
    """Rows are those of the finished target, before the mixture and unrounded; its codes are a log grid of a few percent."""
    folders = trial.reference_folders()
    assert sorted(folders) == [0, 1] and trial.references_exist
    rows, source = reference_rows(trial, 400)
    assert trial.references.digest[:12] in source and "left by the recipe trial of size small" in source
    assert sum(len(row) for row in rows) >= 400
    stored = {(row.doc_id, row.token_ids_T.tobytes()): row for row in TargetReader(trial.target(RECIPES["alpha-50"]).path)}
    matched = 0
    for row in rows:
        np.testing.assert_allclose(row.probs_TK.sum(axis=1) + row.tail_T, 1, atol=1e-6)  # float32 logits
        other = stored.get((row.doc_id, row.token_ids_T.tobytes()))
        if other is not None:
            matched += 1
            mixed = [
                float(probs[ids == y].sum()) for probs, ids, y in zip(row.probs_TK[1::2], row.ids_TK[1::2], row.observed[1::2], strict=True)
            ]
            kept = [
                float(probs[ids == y].sum())
                for probs, ids, y in zip(other.probs_TK[1::2], other.ids_TK[1::2], other.observed[1::2], strict=True)
            ]
            np.testing.assert_allclose(mixed, kept, atol=0.02)
    assert matched > 5
    assert weigh(trial.target(RECIPES["alpha-50"]).path)["target_tokens"] > 0


def test_the_store_benchmark_takes_the_largest_trial_whose_references_stand(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(trial, seed=99)
    assert not absent.references_exist
    monkeypatch.setattr(benchmarks.store, "trial", lambda size, _: trial if size is FULL else absent)
    assert benchmarks.store.trial_of("literary") is trial
    monkeypatch.setattr(benchmarks.store, "trial", lambda *_: absent)
    assert benchmarks.store.trial_of("literary") is absent, "trained where none stand"


def test_without_a_model_rows_are_generated_and_prove_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(*_: object) -> None:
        raise ValueError("the model was never fetched")

    monkeypatch.setattr(benchmarks.store, "trial", missing)
    monkeypatch.setattr(benchmarks.store, "synthetic_rows", lambda *_: [])
    found = rows_of_reference("literary", 10, small=False)
    assert found.source == "generated from a seed: the model was never fetched"
    good = dict.fromkeys(GOALS, 0.0) | dict.fromkeys(AT_LEAST, 1e9)
    assert judged(good, found)[1] == {"store_kl": "the rows are made up, so that its value proves nothing"}
    assert "store_kl counts as missed" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("positions", 1_023), ("smallest_tail", 2e-4), ("largest_tail", 0.4)])
def test_a_divergence_over_too_narrow_rows_is_a_miss(name: str, value: float) -> None:
    good: dict[str, float] = dict.fromkeys(GOALS, 0.0) | dict.fromkeys(AT_LEAST, 1e9)
    rows = ReferenceRows([], 8, "a reference", real=True)
    assert judged(good, rows)[1] == {}
    missed = judged(good | {name: value}, rows)[1]
    assert set(missed) == {name, "store_kl"} and f"{name} was not reached" in missed["store_kl"]


@pytest.mark.parametrize("error", [ValueError("no target"), FloatingPointError("no distribution")])
def test_a_recipe_that_fails_on_test_is_in_neither_table_and_the_trial_goes_on(
    error: Exception, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings_of(_: Trial, recipe: Recipe, split: str, __: object) -> list[Setting]:
        if recipe.name == "cool" and split == "test":
            raise error
        return [setting(recipe.name, 4.0, 1.0 if recipe.name == "cool" else 3.0)]

    monkeypatch.setattr(benchmarks.recipe, "settings_of", settings_of)
    rows: dict[str, list[Setting]] = {"validation": [], "test": []}
    refused: dict[str, str] = {}
    human: Any = dict.fromkeys(rows)
    for name in ("sft", "dft", "cool"):
        try_out(trial, RECIPES[name], human, rows, refused)
    assert [one.recipe for one in rows["validation"]] == [one.recipe for one in rows["test"]] == ["sft", "dft"]
    assert refused == {"cool": str(error)} and verdict(rows["validation"], rows["test"], PLAIN)["default"] == "dft"
    with pytest.raises(type(error)):
        monkeypatch.setattr(benchmarks.recipe, "BASELINE", "cool")
        try_out(trial, RECIPES["cool"], human, rows, refused)


def test_every_baseline_the_issue_names_has_a_row_and_only_sft_is_the_rival() -> None:
    objectives = {recipe.objective for recipe in RECIPES.values()}
    assert {"sft", "label_smoothing", "gem", "emo", "dpo", "forward_kl"} <= objectives
    assert {recipe.objective for recipe in RECIPES.values() if recipe.rival} == {"sft"}
    assert not any(RECIPES[name].distribution for name in ("gem", "emo", "dpo"))
