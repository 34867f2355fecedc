"""What the page of a run says about where things are: text to copy, since a browser opens no file from a page of a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen, ReleaseConfig
from timbre.progress import SILENT

FILES = {
    "corpus": {"data_docs/index.html": "<p>docs</p>"},
    "adapter": {"adapter_model.safetensors": "x"},
    "bundle": {"decoder.onnx": "x"},
    "verdict": {
        "report.html": "<p>report</p>",
        "verdict.json": '{"verdict": "PASS", "gates": [{"name": "bias", "verdict": "PASS", "value": 0.123456}]}',
    },
}


def _artifact(home: Path, name: str) -> Artifact:
    def build(_: Frozen, __: Mapping[str, Input], workspace: Workspace) -> None:
        for file, text in FILES[name].items():
            (workspace.output / file).parent.mkdir(exist_ok=True)
            (workspace.output / file).write_text(text)

    return ArtifactStore(home, SILENT).build(Stage(name, 1, build), Frozen(), {})


@pytest.mark.parametrize("cached", [False, True])
def test_the_page_of_a_run_names_every_place_as_text_and_links_to_no_file(
    cached: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Completed

    from timbre.tasks import gates
    from timbre.tasks.context import open_ledger
    from timbre.tasks.stage import Built

    made = {name: _artifact(home, name) for name in FILES}
    built = {name: Built(step=name, digest=one.digest, cached=cached, seconds=0.0) for name, one in made.items()}
    shown: dict[str, Any] = {}
    monkeypatch.setattr(gates, "run_stage", lambda *_: Completed(data=built["verdict"]))
    monkeypatch.setattr(gates, "create_table_artifact", lambda **given: shown.update(table=given["table"]))
    monkeypatch.setattr(gates, "create_markdown_artifact", lambda text, **given: shown.update(text=text, key=given["key"]))

    class Mlflow:
        def run_for(self, key: str, *_: object) -> str:
            assert key == made["adapter"].manifest.key
            return "0123456789abcdef"

    monkeypatch.setattr(gates.MlflowStore, "open", lambda _: Mlflow())
    if cached:
        facts = {"policy": "quick", "strictness": 10, "reason": "timbre run"}
        open_ledger().append(None, model="timbre-literary", kind="promote", version=4, verdict=made["verdict"].digest, **facts)  # type: ignore[arg-type]
    gates.run_gates("verdict", ReleaseConfig(), *(built[name] for name in ("corpus", "adapter", "bundle")))

    assert shown["key"] == "report-literary" and "file://" not in shown["text"] and "](" not in shown["text"]
    lines = shown["text"].splitlines()  # **what**, then its place as a block to copy
    rows = {what.strip("*"): place for what, fence, place in zip(lines, lines[1:], lines[2:], strict=False) if fence == "```" and what}
    assert {name: rows[name] for name in ("report", "Data Docs", "bundle")} == {
        "report": str(made["verdict"].path / "report.html"),
        "Data Docs": str(made["corpus"].path / "data_docs" / "index.html"),
        "bundle": str(made["bundle"].path),
    }
    assert rows["MLflow experiment"] == "timbre-literary"
    assert rows.get("MLflow run") == (None if cached else "0123456789abcdef"), "a cached step asks MLflow nothing"
    assert rows.get("MLflow version") == ("timbre-literary v4" if cached else None), "the release that follows names a new one"
    assert [row["name"] for row in shown["table"]] == ["all together: 1 of 1 passed", "bias"] and shown["table"][1]["value"] == 0.1235
