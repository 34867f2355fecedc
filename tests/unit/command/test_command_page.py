"""`timbre evaluate --page`: no text is ever replaced by a page, nor a page read as a text."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.cli import app

AMONG = "it would stand among the texts of"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("drafts/page.html", AMONG), ("drafts/one.html", AMONG), ("human.html", AMONG), ("slop.txt", "a page is HTML"),
        ("nowhere/page.html", "there is no such folder"),
    ],
)  # fmt: skip
def test_a_page_never_takes_the_place_of_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drafts").mkdir()
    for name in ("drafts/one.html", "human.html", "slop.txt"):
        (tmp_path / name).write_text("a delve")
    found = CliRunner().invoke(app, ["evaluate", "drafts", "--against", "human.html", "--slop", "slop.txt", "--page", page])
    assert found.exit_code != 0 and why in f"{found.output}{found.exception}"
    assert all((tmp_path / name).read_text() == "a delve" for name in ("drafts/one.html", "human.html", "slop.txt"))
    assert not (tmp_path / "drafts/page.html").exists()
