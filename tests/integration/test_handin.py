"""The data team's hand-in: accepted and versioned, or refused with what to fix and nothing changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.artifacts import Artifact
from timbre.cli import app
from timbre.cli.errors import explain
from timbre.corpus.contract_versions import EXPECTATIONS, HANDIN, read_rules
from timbre.settings import PROJECT_ROOT, settings
from timbre.tasks.stores.dvc import DataRegistry

pytestmark = pytest.mark.road
HandIn = Callable[..., tuple[int, dict[str, Any]]]
TERMS = ("--style", "harbour", "--by", "Data team", "--author", "Ada Bell", "--licence", "CC0-1.0")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose contract may be edited."""
    root = tmp_path / "project"
    for name in ("data", "mlflow"):
        shutil.copytree(PROJECT_ROOT / name, root / name)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(PROJECT_ROOT / name, root / name)
    monkeypatch.setenv("TIMBRE_ROOT", str(root))
    return root


def hand_in(*words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `timbre handin`."""
    settings.cache_clear()
    done = CliRunner().invoke(app, ["handin", *words, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return explain(done.exception)[1], {"error": explain(done.exception)[0]}
    return done.exit_code, json.loads(done.stdout)


def state(home: Path) -> tuple[Any, ...]:
    """What must not change: the registry's commit and tags, and the shelf."""
    registry = DataRegistry.open(settings())
    shelf = {path.relative_to(home): path.read_bytes() for place in ("sources", "styles") for path in (home / place).rglob("*.toml")}
    return registry.git("rev-parse", "HEAD"), registry.git.lines("tag"), shelf


def test_a_refused_hand_in_names_rule_and_document_and_leaves_the_corpus(texts: Path, home: Path) -> None:
    code, first = hand_in(str(texts), *TERMS)
    assert (code, first["outcome"], first["revision"], first["by"]) == (0, "accepted", "corpus/harbour/v1", "Data team")
    assert first["terms"] == [
        {
            "source": "harbour-texts", "author": "Ada Bell", "licence": "CC0-1.0",
            "consent": "In the public domain, or given to it (CC0-1.0), as its user states.",
        }
    ]  # fmt: skip
    assert Path(first["data_docs"]).is_file() and Path(first["page"]).is_file()
    corpus = Artifact.open(home / "artifacts" / "corpus" / first["digest"])
    assert corpus.json("counts.json")["kept"] == 40
    (note,) = DataRegistry.open(settings()).notes("harbour")
    assert json.loads(note)["by"] == "Data team" and json.loads(note)["digest"] == first["digest"]

    before = state(home)
    (texts / "00 Ada Bell.txt").write_text("")
    (texts / "torn.pdf").write_bytes(b"%PDF-1.4 torn")
    code, second = hand_in(str(texts), *TERMS)
    assert (code, second["accepted"], second["outcome"], second["digest"]) == (2, False, "refused", "")
    found = {finding["document"]: finding for finding in second["findings"]}
    assert set(found) == {"00 Ada Bell", "torn"} and all(finding["fix"] for finding in found.values())
    assert (found["00 Ada Bell"]["rule"], found["torn"]["rule"]) == ("no document empty", "no document unreadable")
    assert state(home) == before

    code, history = hand_in("--history")
    assert [entry["outcome"] for entry in history] == ["accepted", "refused"]  # type: ignore[index]
    page = Path(first["page"]).read_text()
    assert "no document unreadable" in page and "torn" in page and first["revision"] in page


def test_a_contract_that_breaks_needs_a_version_and_a_migration(texts: Path, home: Path, project: Path) -> None:
    assert hand_in(str(texts), *TERMS)[0] == 0
    before = state(home)
    rules = project / EXPECTATIONS
    added = '\n[[expectation]]\ntype = "expect_column_values_to_not_match_regex"\ncolumn = "text"\nregex = "glimmered"\n'
    rules.write_text(rules.read_text() + added)
    code, unversioned = hand_in(str(texts), *TERMS)
    digest = read_rules(settings()).digest
    assert code == 2 and digest in unversioned["error"] and "number = 2" in unversioned["error"]

    versions = project / HANDIN
    plain = versions.read_text() + f'\n[[version]]\nnumber = 2\nrules = "{digest}"\nwhy = "No glimmering."\n'
    versions.write_text(plain)
    code, unmigrated = hand_in(str(texts), *TERMS)
    assert code == 2 and "no migration" in unmigrated["error"] and "new: column text: values to not match regex" in unmigrated["error"]
    assert state(home) == before

    versions.write_text(plain + '[version.migration]\nhow = "Say it otherwise."\n')
    code, refused = hand_in(str(texts), *TERMS)
    assert (code, refused["contract"], refused["to_hand_in_again"]) == (2, 2, ["harbour"])
    broken = {finding["document"] for finding in refused["findings"]}
    assert broken and all(name.endswith("Ada Bell") for name in broken) and state(home) == before

    for path in texts.glob("*.txt"):
        path.write_text(path.read_text().replace("glimmered", "shone"))
    code, mended = hand_in(str(texts), *TERMS)
    assert (code, mended["contract"], mended["revision"]) == (0, 2, "corpus/harbour/v2")


def test_without_consent_nothing_is_handed_in_and_nobody_is_no_one(texts: Path, home: Path) -> None:
    terms = ("--style", "harbour", "--by", "Data team", "--author", "Ada Bell", "--licence", "MIT")
    code, refused = hand_in(str(texts), *terms)
    assert code == 2 and [finding["rule"] for finding in refused["findings"]] == ["consent is recorded"]
    assert not (home / "sources").exists() or not list((home / "sources").iterdir())
    code, asked = hand_in(str(texts), "--style", "harbour", "--author", "Ada Bell", "--licence", "CC0-1.0")
    assert code == 2 and "--by" in asked["error"]


def test_a_build_that_fails_puts_the_shelf_back(texts: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hand_in(str(texts), *TERMS)[0] == 0
    before = state(home)
    (texts / "more.txt").write_text((texts / "01 Ben Cole.txt").read_text().replace("orchard", "garden").replace("the", "that"))

    def broken(*_: object, **__: object) -> None:
        raise ValueError("the data road is closed")

    monkeypatch.setattr(DataRegistry, "build", broken)
    code, failed = hand_in(str(texts), *TERMS)
    assert code == 2 and "closed" in failed["error"] and state(home) == before
