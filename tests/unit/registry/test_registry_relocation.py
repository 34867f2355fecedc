"""A home that was copied or moved writes where it is now, and never where it was."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from timbre.settings import Settings
from timbre.tasks.stores.mlflow import MlflowStore
from timbre.tasks.stores.relocation import relocate


def _tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_copied_home_keeps_its_versions_and_leaves_the_old_one_alone(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.onnx").write_text("x")
    old, new = tmp_path / "old home", tmp_path / "new"
    store = MlflowStore.open(Settings(home=old))
    run = store.run_for("k", "literary", "one", {})
    tags = {"timbre.verdict": "v" * 64, "timbre.bundle": "b" * 64, "timbre.run": run}
    store.register("timbre-literary", tmp_path / "bundle", tags)
    shutil.copytree(old, new)
    before = _tree(old)

    store = MlflowStore.open(Settings(home=new))
    (version,) = store.versions("timbre-literary")
    fetched = store.download(version, tmp_path / "fetched")
    assert (fetched / "model.onnx").read_text() == "x"
    again = store.run_for("k2", "literary", "two", {})
    store.register("timbre-literary", tmp_path / "bundle", tags | {"timbre.verdict": "w" * 64, "timbre.run": again})
    assert len(list((new / "mlflow-artifacts").rglob("model.onnx"))) == 2
    assert _tree(old) == before
    dump = "\n".join(sqlite3.connect(new / "mlflow.db").iterdump())
    assert "old%20home" not in dump and "old home" not in dump
    default = store._client.get_experiment_by_name("Default")
    assert default is not None and default.artifact_location == (new / "mlflow-artifacts" / "Default").as_uri(), (
        "not the folder we stand in"
    )


@pytest.mark.parametrize("content", ["", "not a database", None])
def test_a_home_without_mlflow_has_nothing_to_bring_along(tmp_path: Path, content: str | None) -> None:
    if content:
        with sqlite3.connect(tmp_path / "mlflow.db") as connection:
            connection.execute("CREATE TABLE other (a TEXT)")
    elif content is not None:
        (tmp_path / "mlflow.db").touch()
    assert relocate(tmp_path / "mlflow.db", tmp_path) is None
