"""The texts of a registered version, of its base and of the human writers, from the artifacts that its tags name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import EvaluationConfig, Frozen, GateConfig
from timbre.registry.ports import Version
from timbre.tasks.generations import texts_of


def lines(word: str) -> str:
    row = {
        "prompt_id": "p#0",
        "cluster": "d",
        "doc_id": "d",
        "kind": "style",
        "sample": 0,
        "prompt": "It was",
        "human": "late.",
        "text": word,
    }
    return json.dumps(row) + "\n" + json.dumps(row | {"kind": "memorisation"}) + "\n"


@pytest.mark.parametrize("apart", [False, True], ids=["in the evaluation", "in an artifact of their own"])
def test_version_base_and_human_are_read_from_the_evidence_of_the_release(
    tmp_path: Path, make_artifact: Callable[..., Artifact], apart: bool
) -> None:
    store = ArtifactStore(tmp_path / "home")

    def evaluation(word: str, seed: int) -> Artifact:
        def write(folder: Path) -> None:
            (folder / "generations.jsonl").write_text(lines(word))

        config = EvaluationConfig(seed=seed)
        if not apart:
            return make_artifact(store, "evaluation", config, write)
        written = make_artifact(store, "generations", config, write)

        def build(_: Frozen, __: Any, work: Workspace) -> None:
            (work.output / "summary.json").write_text("{}")

        inputs: dict[str, Input] = {"generations": written}
        return store.build(Stage("evaluation", 1, build), config, inputs)

    own, base = evaluation("dark.", 1), evaluation("cold.", 2)
    subject = {"subject": {"base": base.digest}}
    verdict = make_artifact(store, "verdict", GateConfig(), lambda folder: (folder / "verdict.json").write_text(json.dumps(subject)))
    version = Version("timbre-tiny", 3, {"timbre.evaluation": own.digest, "timbre.verdict": verdict.digest})
    found = {side: texts_of(version, store, side) for side in ("version", "base", "human")}  # type: ignore[arg-type]
    assert {side: [text.text for text in texts] for side, texts in found.items()} == {
        "version": ["dark."], "base": ["cold."], "human": ["late."],
    }  # fmt: skip
    assert found["human"][0].prompt == "It was" and found["human"][0].document == "d"
    for tags in ({}, {"timbre.evaluation": "0" * 64, "timbre.verdict": "0" * 64}):
        for side, words in (("version", "the texts of timbre-tiny v3"), ("base", "the base model's texts")):
            with pytest.raises(ValueError, match=f"{words}.* are not on this machine"):
                texts_of(Version("timbre-tiny", 3, tags | {"timbre.verdict": "0" * 64}), store, side)  # type: ignore[arg-type]
