"""The data road of a release at the sequence level on a tiny model: every step up to both students, and the version that is kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.building import add_source
from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ReleaseConfig
from timbre.pipeline import STEP, needs_of
from timbre.progress import SILENT

pytestmark = pytest.mark.road

SECTIONS: dict[str, dict[str, Any]] = {
    "target": {
        "train_tokens": 2048, "passage_tokens": 128, "top_k": 16, "admission_tokens": 512, "reference_learning_rate": 0.01,
        "reference_epochs": 4, "batch_tokens": 512,
    },
    "training": {"learning_rate": 0.01, "epochs": 2, "batch_tokens": 512, "validation_tokens": 512, "replay_items": 1, "evaluate_every": 4},
    "baseline": {"objective": "forward_kl"},
}  # fmt: skip
SEQUENCE = {"prompts": 40, "completions": 2, "prompt_tokens": 8, "new_tokens": 32, "epochs": 1}
STUDENTS = ("adapter", "baseline_adapter")


def test_a_sequence_level_release_decides_trains_both_arms_and_keeps_a_version(
    home: Path, tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    from timbre.tasks.data import DATA, data_tags, run_kept_stage
    from timbre.tasks.stage import Built
    from timbre.tasks.training import adapter_key

    lines = tmp_path / "texts.jsonl"
    lines.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in tiny_corpus_texts))
    add_source(lines, "harbour", "various", "CC0-1.0")
    given: dict[str, Any] = SECTIONS | {"style": "harbour", "model": {"name": str(tiny_model_dir)}}
    plain = ReleaseConfig.model_validate(given)
    config = ReleaseConfig.model_validate(given | {"target": SECTIONS["target"] | {"level": "sequence", "sequence": SEQUENCE}})
    store = ArtifactStore(home, SILENT)
    built: dict[str, Artifact] = {}
    wanted = ("model", "corpus", "target", "token_adapter", "completions", "sequence", "control", *STUDENTS)
    for name in wanted:
        built[name] = pipeline.build(name, config, store, built)

    assert pipeline.find(plain, store)["adapter"] == built["token_adapter"], "a plain release finds its student built"
    admission = built["sequence"].json("admission.json")
    for name, arm in zip(STUDENTS, ("tilt", "uniform"), strict=True):
        assert built[name].json("summary.json")["sequence"] == {"admitted": admission["admitted"], "why": admission["why"], "arm": arm}

    steps = {name: Built(step=name, digest=artifact.digest, cached=True, seconds=0.0) for name, artifact in built.items()}
    for _ in range(2):
        assert run_kept_stage("sequence", config, steps["completions"]).name == "Cached"
        assert data_tags(config, *(steps[name] for name in DATA)) == {"sequence": "sequence/harbour/v1"}
    read = (steps[name] for name in needs_of(STEP["adapter"], config).values())
    assert adapter_key(config, *read) == built["adapter"].manifest.key
