"""What people said in a blind study stands as evidence of the version that they rated, and of no other, in its report."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.judging.conftest import made_pairs
from tests.unit.judging.test_judging_study import answers, picks, written
from timbre.artifacts import IntegrityError
from timbre.gates.made import FACTS_HERE, Release, with_release
from timbre.judging.ratings import ratings_report, read_key, read_ratings
from timbre.judging.study import Study, export_study
from timbre.settings import settings
from timbre.tasks.latest import REPORT, latest_folder
from timbre.tasks.stores.mlflow import MlflowStore
from timbre.tasks.studies import keep_study, sentence, show_studies, studies_of

MODEL = "timbre-literary"


@pytest.fixture
def version(home: Path, tmp_path: Path) -> dict[str, Any]:
    """A registered version, in a real MLflow on SQLite, and its report."""
    from timbre.tasks.environment import prepare

    prepare(settings())
    store = MlflowStore.open(settings())
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.onnx").write_text("weights")
    run = store.run_for("adapter", "literary", "literary", {})
    found = store.register(MODEL, bundle, {"timbre.run": run, "timbre.bundle": "b" * 64, "timbre.verdict": "v" * 64})
    page = latest_folder("literary") / REPORT
    page.parent.mkdir(parents=True)
    page.write_text(with_release(f"<dl>{FACTS_HERE}</dl>", Release((("version", f"v{found.number}, the champion"),), ())))
    return {"style": "literary", "model": MODEL, "version": found.number, "bundle": found.bundle}


def rated(folder: Path, release: dict[str, Any] | None, seed: int = 1) -> tuple[dict[str, Any], dict[str, Any], list[Path]]:
    names = ("literary v1", "human")
    study = export_study(made_pairs(12), folder, names=names, count=12, texts=0, seed=seed, release=release)
    files = [written(folder / f"{rater}.json", answers(study, "pairs", rater, picks(side))) for rater, side in (("ada", "A"), ("bob", "B"))]
    key = read_key(study.key)
    return ratings_report(read_ratings(files, key), key), key, files


def test_ratings_stand_in_the_report_of_the_version_that_was_rated(version: dict[str, Any], tmp_path: Path) -> None:
    report, key, files = rated(tmp_path / "study", version)
    kept = keep_study(report, key, files)
    assert keep_study(report, key, files) == kept and len(studies_of(MODEL, version["version"])) == 1, "the same answers are kept once"
    page = (latest_folder("literary") / REPORT).read_text()
    assert page.count("<dt>people</dt>") == 1 and "2 raters, 12 pairs: literary v1 preferred to human in 0.50" in page
    stored = json.loads(kept.read_text())
    assert stored["release"] == version and len(stored["ratings"]) == 2

    keep_study(*rated(tmp_path / "second", version, seed=2))
    assert (latest_folder("literary") / REPORT).read_text().count("<dt>people</dt>") >= 1
    assert len(studies_of(MODEL, version["version"])) == 2


def test_a_report_of_another_version_says_nothing_of_it(version: dict[str, Any], tmp_path: Path) -> None:
    keep_study(*rated(tmp_path / "study", version))
    page = latest_folder("literary") / REPORT
    page.write_text(with_release(f"<dl>{FACTS_HERE}</dl>", Release((("version", "v17, the champion"),), ())))
    assert not show_studies("literary", MODEL, version["version"]) and "people" not in page.read_text()


def test_ratings_of_another_bundle_or_of_no_version_are_no_evidence(version: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="another timbre-literary v1"):
        keep_study(*rated(tmp_path / "other", version | {"bundle": "c" * 64}))
    with pytest.raises(ValueError, match="of no registered version"):
        keep_study(*rated(tmp_path / "files", None))
    assert studies_of(MODEL, version["version"]) == []


def test_a_key_whose_release_was_changed_is_refused(version: dict[str, Any], tmp_path: Path) -> None:
    rated(tmp_path / "study", version)
    key = tmp_path / "study" / "key.json"
    key.write_text(key.read_text().replace(version["bundle"], "c" * 64))
    with pytest.raises(IntegrityError, match="was changed after the export"):
        read_key(key)


def test_a_form_is_said_in_means(tmp_path: Path) -> None:
    study: Study = export_study(made_pairs(12), tmp_path, names=("v1", "human"), count=0, texts=8, seed=1)
    file = written(tmp_path / "ada.json", answers(study, "form", "ada", lambda *_: {"fluency": 3, "creativity": 4}))
    key = read_key(study.key)
    assert "1 rater, 8 texts, 1–5: fluency 3.0 to 3.0, creativity 4.0 to 4.0" in sentence(ratings_report(read_ratings([file], key), key))
