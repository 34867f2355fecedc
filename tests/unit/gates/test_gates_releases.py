"""Evidence from two worlds of libraries is refused, with what to remove; what does not matter is no hindrance."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.building import judge_release
from timbre.artifacts import Artifact, ArtifactStore, FileInput
from timbre.config import GateConfig
from timbre.gates.evidence import read_evidence
from timbre.gates.releases import measured_under_others
from timbre.progress import SILENT
from timbre.versions import versions


def under(artifact: Artifact, texts: dict[str, str] | None = None, **libraries: str) -> Artifact:
    """The artifact as if it, or the texts it measured, had been built with other versions."""
    built = artifact.manifest.built | {"libraries": artifact.libraries | libraries}
    if texts is not None:
        built |= {"libraries_of_inputs": {"generations": artifact.libraries | texts}}
    return replace(artifact, manifest=artifact.manifest.model_copy(update={"built": built}))


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "peft"])
@pytest.mark.parametrize("old", ["base", "candidate"])
def test_another_release_refuses_the_evidence_and_names_the_older_folder(library: str, old: str, studio: Any, scene: Any) -> None:
    artifacts = studio.artifacts(scene)
    artifacts[old] = under(artifacts[old], **{library: "0.1.2"})
    refused = read_evidence(artifacts).refused["base"]
    assert f"measured under different releases of {library}" in refused and versions()[library] in refused
    assert refused.endswith(f"remove {artifacts[old].path} to have it built again")


@pytest.mark.parametrize("changes", [{"torch": versions()["torch"] + "+cu999"}, {"numpy": "1.0.0"}, {"onnxruntime": "0.5"}])
def test_build_tags_and_what_runs_no_model_hinder_nothing(changes: dict[str, str], studio: Any, scene: Any) -> None:
    artifacts = studio.artifacts(scene)
    assert "base" not in read_evidence(artifacts | {"base": under(artifacts["base"], **changes)}).refused


def test_texts_written_under_another_release_are_refused_though_they_were_measured_together(studio: Any, scene: Any) -> None:
    artifacts = studio.artifacts(scene)
    candidate, base = (under(artifacts[name], {"transformers": version}) for name, version in (("candidate", "9.1"), ("base", "9.0")))
    reason = measured_under_others(candidate, base)
    assert reason is not None and "written under different releases of transformers (9.0 and 9.1)" in reason
    assert measured_under_others(candidate, under(base, {"transformers": "9.1.4"})) is None


def test_evidence_that_does_not_say_counts_with_its_like_only(studio: Any, scene: Any) -> None:
    artifacts = studio.artifacts(scene)

    def silent(artifact: Artifact) -> Artifact:
        return replace(artifact, manifest=artifact.manifest.model_copy(update={"built": {}}))

    assert measured_under_others(silent(artifacts["candidate"]), silent(artifacts["base"])) is None
    assert "unknown" in str(measured_under_others(artifacts["candidate"], silent(artifacts["base"])))


def test_evidence_that_was_had_again_is_judged_again_though_it_came_out_the_same(
    studio: Any, scene: Any, quick: FileInput, tmp_path: Path
) -> None:
    artifacts, store = studio.artifacts(scene), ArtifactStore(tmp_path / "verdicts", SILENT)
    old = under(artifacts["base"], torch="1.0.0")
    assert old.digest == artifacts["base"].digest
    refused = judge_release(GateConfig(), **artifacts | {"base": old}, policy=quick, store=store)
    again = judge_release(GateConfig(), **artifacts, policy=quick, store=store)
    assert (refused.json("verdict.json")["verdict"], again.json("verdict.json")["verdict"]) == ("FAIL", "PASS")
    assert judge_release(GateConfig(), **artifacts, policy=quick, store=store).cached
