"""Broken candidates are not promoted, each by the gate that is meant for it: the quick policy on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks.doctored import KINDS, LIMITS, Scene, judged
from timbre import road
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import release_config
from timbre.corpus.adding import add_source
from timbre.progress import SILENT

SETTINGS = {
    "target.train_tokens": 4096, "target.passage_tokens": 128, "target.top_k": 16, "target.admission_tokens": 1024,
    "target.reference_learning_rate": 0.01, "target.reference_epochs": 4, "target.batch_tokens": 512,
    "training.learning_rate": 0.01, "training.epochs": 4, "training.batch_tokens": 512, "training.validation_tokens": 1024,
    "evaluation.likelihood_tokens": 4096, "evaluation.passage_tokens": 128, "evaluation.prompts": 4, "evaluation.new_tokens": 64,
    "evaluation.bias_items": None, "evaluation.fact_items": None,
    "export.parity_prompts": 8, "export.parity_tokens": 4, "export.latency_tokens": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Scene:
    """An honest candidate of the tiny model, and a store for broken ones."""
    from timbre.settings import settings

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMBRE_HOME", str(home))
        settings.cache_clear()
        texts = home / "texts.jsonl"
        texts.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in tiny_corpus_texts))
        add_source(texts, "tiny", "various", "CC0-1.0")
        config = release_config("tiny", overrides={"model.name": str(tiny_model_dir), **SETTINGS})
        store, built = ArtifactStore(home, SILENT), dict[str, Artifact]()
        for step in road.STEPS:
            built[step.name] = road.build(step.name, config, store, built)
    settings.cache_clear()
    return Scene(config, built, ArtifactStore(home / "doctored", SILENT), strength=10.0)


def _gate(artifact: Artifact, name: str) -> str:
    gates = artifact.json("verdict.json")["gates"]
    return str(next(gate["verdict"] for gate in gates if gate["name"] == name))


def test_the_honest_candidate_passes_the_gates_that_the_broken_ones_fail(scene: Scene) -> None:
    assert _gate(scene.honest["verdict"], "held_out_nll") == "PASS"
    assert _gate(scene.honest["verdict"], "memorisation") == "PASS"


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_candidate_is_stopped_by_the_gate_meant_for_it(scene: Scene, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "overfitted", (8, 96))
    result = judged(kind, scene)
    assert result["gate_verdict"] == "FAIL", result
    assert result["verdict"] == "FAIL"
