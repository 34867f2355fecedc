"""`timbre corpus` and the plan of a run, typed: an edited folder, what is kept and left out, and in which words."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.intake.case import prose
from timbre.cli import app

_TERMS = ("--style", "notes", "--author", "Ann", "--licence", "own work")


def _typed(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text("\n\n".join(prose(number)), encoding="utf-8")
    _write(folder / "short.txt", "Too short.")
    _write(folder / "picture.key", "?")
    return folder


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_a_renamed_file_is_no_loss_and_that_it_moved_is_said(home: Path, notes: Path) -> None:
    first = _typed("corpus", "add", str(notes), *_TERMS)
    assert "9 documents read, 8 kept" in first and "1 rejected: 1 too short" in first
    assert "skipped 1 file whose ending no reader knows: .key (1)" in first
    (notes / "2.txt").rename(notes / "second.txt")
    _write(notes / "copy.txt", (notes / "3.txt").read_text(encoding="utf-8"))
    (notes / "4.txt").unlink()
    _write(notes / "5.txt", "\n\n".join(prose(55)))
    dry = _typed("corpus", "add", str(notes), *_TERMS, "--dry-run")
    counted = "updated: 1 new, 1 changed, 1 gone, 7 unchanged documents (1 of them under another name)"
    assert counted in dry and "duplicate:" in dry and "the same as notes-notes:3" in " ".join(dry.split())
    assert dry.rstrip().endswith("nothing was registered: leave out --dry-run to do it")
    spoken = json.loads(_typed("corpus", "add", str(notes), *_TERMS, "--json"))
    assert spoken["changes"] == {"new": 1, "changed": 1, "gone": 1, "unchanged": 7} and spoken["renamed"] == 1
    assert (spoken["read"], spoken["kept"], spoken["rejected"]) == (9, 7, {"duplicate": 1, "too_short": 1})
    shown = json.loads(_typed("corpus", "show", "notes", "--json"))
    assert spoken["words"] == shown["words"] == sum(row["words"] for row in shown["documents"] if not row["reason"])


def test_the_plan_of_a_run_says_what_cleaning_rejects(home: Path, notes: Path) -> None:
    _typed("corpus", "add", str(notes), *_TERMS)
    assert "corpus: 9 documents read, 8 kept, 1 rejected (1 too short)" in _typed("run", "--style", "notes", "--dry-run")
    planned = json.loads(_typed("run", "--style", "notes", "--dry-run", "--json"))
    assert planned["corpus"] == {"read": 9, "kept": 8, "rejected": {"too_short": 1}}


def test_columns_that_are_not_there_are_said_and_a_language_is_a_code(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "posts.jsonl"
    table.write_text("".join(json.dumps({"body": "\n\n".join(prose(n)), "writer": "Ann"}) + "\n" for n in range(3)), encoding="utf-8")
    said = " ".join(_typed("corpus", "add", str(table), *_TERMS, "--text-column", "body", "--author-column", "who", "--dry-run").split())
    assert "note: posts.jsonl has no column 'who' for --author-column; it has body, writer" in said
    for column, missing in (("writer", False), ("Writer", True)):  # the author is read from the column of just this name
        said = _typed("corpus", "add", str(table), *_TERMS, "--text-column", "body", "--author-column", column, "--dry-run")
        assert (f"no column '{column}'" in " ".join(said.split())) is missing
    wrong = CliRunner().invoke(app, ["corpus", "add", str(table), *_TERMS, "--language", "english"])
    assert isinstance(wrong.exception, ValueError) and "such as en, de or zh" in str(wrong.exception)


def test_where_nothing_is_kept_no_run_is_proposed(home: Path, tmp_path: Path) -> None:
    _write(tmp_path / "a.txt", "Too short.")
    said = _typed("corpus", "add", str(tmp_path / "a.txt"), *_TERMS)
    assert "nothing of it is kept" in said and "timbre corpus remove notes-a" in said and "next: timbre run" not in said
