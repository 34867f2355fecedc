"""What stands: history and status say all of it in 80 columns, a release can be made by hand, champions are compared once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.errors import explain
from timbre.config import ModelConfig
from timbre.registry.ledger import Ledger
from timbre.settings import settings
from timbre.tasks.context import open_ledger
from timbre.tasks.stores.mlflow import MlflowStore


@pytest.fixture(scope="module")
def home_of_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `timbre-literary` has eight versions; making MLflow's database takes seconds, so one for the file."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bundle").mkdir()
    (folder / "bundle" / "model.onnx").write_text("x")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TIMBRE_HOME", str(folder))
        settings.cache_clear()
        store = MlflowStore.open(settings())
        run = store.run_for("key", "literary", "one", {})
        for number in range(1, 9):
            tags = {"timbre.verdict": f"{number:064}", "timbre.bundle": "b" * 64, "timbre.run": run, "timbre.policy": "quick"}
            store.register("timbre-literary", folder / "bundle", tags)
        ledger, first = open_ledger(), None
        for number, reason in (
            (1, "timbre run"),
            (8, "the readers of the long table in the north wing liked it far better than the other"),
        ):
            first = _promoted(ledger, first, number, reason)
        ledger.close()
    settings.cache_clear()
    return folder


def _promoted(ledger: Ledger, seen: Any, number: int, reason: str) -> Any:
    facts = {"policy": "quick", "strictness": 10, "reason": reason}
    return ledger.append(seen, model="timbre-literary", kind="promote", version=number, verdict=f"{number:064}", **facts)


@pytest.fixture
def here(home_of_versions: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TIMBRE_HOME", str(home_of_versions))
    settings.cache_clear()
    yield home_of_versions
    settings.cache_clear()


@pytest.mark.usefixtures("here")
def test_history_fits_80_columns_and_says_why_and_what_was_replaced() -> None:
    lines = CliRunner().invoke(app, ["history"]).output.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert "promote v8 replacing v1 policy quick, verdict 000000000000, the readers of the long table" in said
    assert said.endswith("far better than the other")


def test_a_verdict_is_in_the_ledger_as_soon_as_it_is_reached_and_history_shows_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`timbre stage gate` alone writes it down: nobody has to publish a FAIL for it to be known."""
    from timbre.artifacts import ArtifactStore, Stage
    from timbre.config import Frozen

    document = {
        "verdict": "FAIL", "policy": {"name": "quick", "strictness": 1, "digest": "d" * 64}, "gates": [],
        "subject": {"bundle": "b" * 64, "candidate": "c" * 64, "base": "e" * 64},
    }  # fmt: skip
    stage = Stage("verdict", 1, lambda _config, _inputs, work: (work.output / "verdict.json").write_text(json.dumps(document)))  # type: ignore[arg-type, return-value]
    verdict = ArtifactStore(home).build(stage, Frozen(), {})
    monkeypatch.setattr("timbre.pipeline.build", lambda *_: verdict)
    for _ in range(2):
        done = CliRunner().invoke(app, ["stage", "gate", "--style", "literary"])
        assert done.exit_code == 3, done.output
    (row,) = json.loads(CliRunner().invoke(app, ["history", "--verdicts", "--json"]).output)
    assert (row["model"], row["verdict"], row["outcome"], row["wording"]) == ("timbre-literary", verdict.digest, "FAIL", "d" * 64)
    lines = CliRunner().invoke(app, ["history", "--verdicts", "--style", "literary"]).output.splitlines()
    assert max(map(len, lines)) <= 80 and lines[0].endswith("timbre-literary  FAIL")
    assert "Nothing has been promoted yet." in CliRunner().invoke(app, ["history"]).output


@pytest.mark.usefixtures("here")
def test_status_names_the_newest_versions_and_all_on_request() -> None:
    newest, every = (" ".join(CliRunner().invoke(app, ["status", *more]).output.split()) for more in ([], ["--all"]))
    assert "… v3 v4" in newest and "v2" not in newest
    assert "…" not in every and all(f"v{number}" in every for number in range(1, 9))


@pytest.mark.usefixtures("here")
def test_a_release_by_hand_says_which_step_is_missing() -> None:
    done = CliRunner().invoke(app, ["stage", "release"])
    assert isinstance(done.exception, ValueError)
    sentence, code = explain(done.exception)
    assert code == 2 and "release needs the model first: `timbre stage model --style literary` builds it" in sentence


def test_a_champion_whose_evidence_is_elsewhere_is_not_compared_and_a_page_is_made_once(here: Path) -> None:
    from timbre.tasks.comparison import compare_with_champion, comparison_page

    base = ModelConfig()
    with pytest.warns(UserWarning, match="v8 is not compared with v1: the .* is not on this machine"):
        assert compare_with_champion("literary", base, 8, 1) is None
    folder = here / "comparisons" / "timbre-literary-v8-v1"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("cut off here")
    assert comparison_page("timbre-literary", 8, 1) is None, "report.md is written last: without it the page may be half"
    (folder / "report.md").write_text("whole")
    assert compare_with_champion("literary", base, 8, 1) == comparison_page("timbre-literary", 8, 1) == folder / "report.html"
    assert compare_with_champion("literary", base, 8, 8) is None
