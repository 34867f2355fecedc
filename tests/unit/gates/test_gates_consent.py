"""One author's texts: what `timbre corpus add` writes about consent, and what the gate makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.building import add_source
from timbre.corpus.consent import is_recorded
from timbre.corpus.sources import find_source
from timbre.gates.corpus_evidence import provenance
from timbre.gates.evidence import read_evidence
from timbre.gates.policy import read_policy
from timbre.gates.verdict import judge
from timbre.settings import PROJECT_ROOT


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"Dear friend, this is letter {number}.")
    return folder


def _consent_gate(studio: Any, scene: Any, policy: str, licence: str, consent: str) -> str:
    """The verdict of the gate on a corpus that one author wrote alone."""
    alone = replace(scene, documents=[row | {"author": "A. Writer", "licence": licence, "consent": consent} for row in scene.documents])
    gates = judge(read_evidence(studio.artifacts(alone)), read_policy(PROJECT_ROOT / "mlflow" / "policies" / f"{policy}.toml")).gates
    return str(next(gate.verdict for gate in gates if gate.name == "consent"))


@pytest.mark.parametrize(
    ("licence", "consent", "verdict"),
    [
        ("own work", None, "PASS"),
        (" Own  Work. ", None, "PASS"),
        ("CC0-1.0", None, "PASS"),
        ("public domain", None, "PASS"),
        ("MIT", None, "FAIL"),
        ("CC-BY-4.0", None, "FAIL"),
        ("CC0-1.0 AND MIT", None, "FAIL"),
        ("not my own work", None, "FAIL"),
        ("MIT", "  ", "FAIL"),
        ("MIT", "not asked", "FAIL"),
        ("MIT", "asked by letter on 3 May 2024", "PASS"),
        ("own work", "unknown", "FAIL"),
        ("MIT", "refused", "FAIL"),
        ("MIT", "Permission withheld by the estate.", "FAIL"),
        ("MIT", "request pending", "FAIL"),
        ("own work", "The author has not answered yet.", "FAIL"),
        ("MIT", "used without the author's consent", "FAIL"),
    ],
)
def test_a_single_author_is_learnt_only_with_a_ground_beyond_the_licence(
    licence: str, consent: str | None, verdict: str, home: Path, letters: Path, studio: Any, scene: Any
) -> None:
    add_source(letters, "letters", "A. Writer", licence, consent=consent)
    _, source = find_source("letters-letters")
    for policy in ("quick", "standard"):
        assert _consent_gate(studio, scene, policy, source.licence, source.consent) == verdict


def test_a_corpus_of_many_authors_needs_no_consent_of_each(studio: Any, scene: Any) -> None:
    many = replace(scene, documents=[row | {"author": f"W{n}", "consent": "not recorded"} for n, row in enumerate(scene.documents)])
    assert provenance(studio.artifacts(many)["corpus"])["unconsented_share"] < 0.25


def test_what_was_written_without_asking_before_counts_for_what_its_licence_says() -> None:
    assert not is_recorded("Added by its user, who states the licence MIT.", "MIT")
    assert is_recorded("Added by its user, who states the licence own work.", "own work")


def test_a_forgotten_consent_is_recorded_by_the_same_command_again(home: Path, letters: Path) -> None:
    first = add_source(letters, "letters", "A. Writer", "MIT")
    assert find_source("letters-letters")[1].consent == "not recorded"
    assert add_source(letters, "letters", "A. Writer", "MIT", consent="by letter") == first
    assert find_source("letters-letters")[1].consent == "by letter"
    assert add_source(letters, "letters", "A. Writer", "MIT") == first
    assert find_source("letters-letters")[1].consent == "by letter", "nothing is taken back by leaving it out"
    with pytest.raises(ValueError, match="is there already"):
        add_source(letters, "letters", "A. Writer", "MIT", consent="by telephone")


def test_corpus_add_says_at_once_that_no_consent_is_recorded(home: Path, letters: Path) -> None:
    from typer.testing import CliRunner

    from timbre.cli import app

    def said(style: str, *more: str) -> str:
        done = CliRunner().invoke(app, ["corpus", "add", str(letters), "--style", style, "--author", "A. Writer", *more])
        assert done.exit_code == 0
        return " ".join(done.output.split())

    assert "no consent is recorded, and MIT alone is none" in said("one", "--licence", "MIT")
    assert "no consent" not in said("two", "--licence", "own work")
    assert '"consent_recorded": false' in said("three", "--licence", "MIT", "--json")
