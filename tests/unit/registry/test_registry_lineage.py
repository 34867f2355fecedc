"""From a version back to what it was made of, and from a corpus forward to what it went into."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Stage
from timbre.config import Frozen
from timbre.registry.lineage import ancestry, full_digest, manifests, picture, touched


class Recipe(Frozen):
    """Distinguishes artifacts of a stage."""

    name: str = ""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Artifact]:
    store = ArtifactStore(tmp_path)

    def make(stage: str, name: str = "", **inputs: Artifact) -> Artifact:
        def build(_: Recipe, __: Mapping[str, Any], workspace: Any) -> None:
            (workspace.output / "text").write_text(f"{stage} {name}")

        return store.build(Stage(stage, 1, build), Recipe(name=name), inputs)

    return make


@pytest.fixture
def road(made: Callable[..., Artifact]) -> dict[str, Artifact]:
    model, corpus = made("model"), made("corpus", "a & b <c>")
    target = made("target", corpus=corpus, model=model)
    adapter = made("adapter", target=target, corpus=corpus, model=model)
    bundle = made("bundle", model=model, adapter=adapter, corpus=corpus)
    other = made("verdict", "other", bundle=made("bundle", "other", corpus=made("corpus", "other")))
    return {"model": model, "corpus": corpus, "target": target, "bundle": bundle, "verdict": made("verdict", bundle=bundle), "other": other}


def test_the_whole_ancestry_is_found_each_part_once_and_sources_last(tmp_path: Path, road: dict[str, Artifact]) -> None:
    nodes = ancestry(road["verdict"].digest, manifests(ArtifactStore(tmp_path).all()))
    assert [node.stage for node in nodes] == ["verdict", "bundle", "adapter", "target", "corpus", "model"]
    assert [node.depth for node in nodes] == [0, 1, 2, 3, 4, 4] and all(node.here for node in nodes)
    assert nodes[1].inputs["corpus"] == road["corpus"].digest and nodes[1].digest == road["bundle"].digest


def test_of_two_of_a_kind_it_says_whose_each_is_and_what_both_used_is_nobodys(tmp_path: Path, made: Callable[..., Artifact]) -> None:
    corpus = made("corpus")
    sides = {
        role: made("evaluation", role, generations=made("generations", role, corpus=corpus), corpus=corpus)
        for role in ("base", "candidate")
    }
    nodes = ancestry(made("verdict", **sides).digest, manifests(ArtifactStore(tmp_path).all()))
    assert [node.title for node in nodes] == [
        "verdict", "evaluation (base)", "evaluation (candidate)", "generations (base)", "generations (candidate)", "corpus",
    ]  # fmt: skip


def test_a_corpus_is_followed_to_every_version_that_it_touched_and_no_other(tmp_path: Path, road: dict[str, Artifact]) -> None:
    known = manifests(ArtifactStore(tmp_path).all())
    roots = {"timbre-a v1": road["verdict"].digest, "timbre-b v1": road["other"].digest}
    assert touched(road["corpus"].digest[:10], roots, known) == ["timbre-a v1"]
    with pytest.raises(ValueError, match="0 artifacts begin with"):
        touched("xyz", roots, known)
    with pytest.raises(ValueError, match="artifacts begin with ''"):
        full_digest("", known)


def test_what_is_not_in_this_home_is_named_as_such_and_so_is_what_is_damaged(tmp_path: Path, road: dict[str, Artifact]) -> None:
    (road["target"].path / "manifest.json").write_text("{")
    nodes = ancestry(road["verdict"].digest, manifests(ArtifactStore(tmp_path).all()))
    target = next(node for node in nodes if node.digest == road["target"].digest)
    assert (target.stage, target.here, dict(target.inputs)) == ("target", False, {})


def test_the_picture_is_whole_xml_with_a_box_for_each_part_and_an_arrow_for_each_input(tmp_path: Path, road: dict[str, Artifact]) -> None:
    nodes = ancestry(road["verdict"].digest, manifests(ArtifactStore(tmp_path).all()))
    drawn = ET.fromstring(picture(nodes, "timbre-<x> & co v1"))
    of = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f".//{of}rect")) == len(nodes)
    assert len(drawn.findall(f".//{of}path")) == sum(len(node.inputs) for node in nodes)
    assert "max-width: 100%" in drawn.get("style", "") and drawn.get("viewBox"), "it fits the window that it is opened in"
    assert drawn.find(f"{of}title").text == "timbre-<x> & co v1"  # type: ignore[union-attr]
    spots = {(box.get("x"), box.get("y")) for box in drawn.findall(f".//{of}rect")}
    assert len(spots) == len(nodes)
