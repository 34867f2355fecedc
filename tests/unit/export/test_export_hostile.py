"""A bundle whose manifest agrees with its bytes, and which still would lead its loader elsewhere, is never loaded."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, IntegrityError
from timbre.config import ExportConfig
from timbre.export.hostile import external_files
from timbre.serving.engine import Engine


@pytest.fixture
def forge(tiny_bundle: Artifact, tmp_path: Path, make_artifact: Callable[..., Artifact]) -> Callable[[Callable[[Path], None]], Artifact]:
    """A bundle that was changed before its manifest was written, so that every hash agrees."""

    def made(change: Callable[[Path], None]) -> Artifact:
        def write(folder: Path) -> None:
            shutil.copytree(tiny_bundle.path, folder, dirs_exist_ok=True)
            (folder / "manifest.json").unlink()
            change(folder)

        return make_artifact(ArtifactStore(tmp_path / "home"), "bundle", ExportConfig(), write)

    return made


def relocated(folder: Path, location: str, *, inside: str = "initializer") -> None:
    """Let one tensor of the graph lie at `location`."""
    import onnx

    path = folder / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    if inside == "attribute":
        node = onnx.helper.make_node("Constant", [], ["hidden"])
        node.attribute.append(onnx.helper.make_attribute("value", tensor))
        model.graph.node.append(node)
        tensor = model.graph.node[-1].attribute[0].t
    next(entry for entry in tensor.external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())


def test_the_files_that_a_graph_names_are_those_that_onnx_finds(tiny_bundle: Artifact) -> None:
    import onnx

    model = onnx.load(str(tiny_bundle.file("model.onnx")), load_external_data=False)
    theirs = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    assert external_files(tiny_bundle.file("model.onnx")) == theirs == {"model.onnx.data"}


@pytest.mark.parametrize("location", ["/etc/passwd", "../model.onnx.data", "other.data", "model.onnx.data/../../x", ""])
@pytest.mark.parametrize("inside", ["initializer", "attribute"])
def test_weights_outside_the_bundle_are_refused(forge: Any, location: str, inside: str) -> None:
    bundle = forge(lambda folder: relocated(folder, location, inside=inside))
    with pytest.raises(IntegrityError, match="no file of this bundle"):
        Engine.open(bundle.path)


@pytest.mark.parametrize("name", ["model.onnx.data", "tokenizer.json"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_are_refused(forge: Any, tmp_path: Path, name: str, link: Callable[..., None]) -> None:
    def change(folder: Path) -> None:
        shutil.copyfile(folder / name, tmp_path / name)
        (folder / name).unlink()
        link(tmp_path / name, folder / name)

    bundle = forge(change)
    with pytest.raises(IntegrityError, match=f"{name}: a (symbolic|hard) link"):
        Engine.open(bundle.path)


@pytest.mark.parametrize(
    "change", [lambda whole: whole[:-7], lambda whole: b"\xff" * 64, lambda whole: whole[: len(whole) // 2] + b"\x3a\xff\xff"]
)
def test_a_graph_that_cannot_be_read_is_refused_before_it_is_loaded(forge: Any, change: Callable[[bytes], bytes]) -> None:
    def spoil(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(change((folder / "model.onnx").read_bytes()))

    bundle = forge(spoil)
    with pytest.raises(IntegrityError, match="not a readable ONNX file"):
        Engine.open(bundle.path)
