"""The newest pages of a style have a place that does not change."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre import __version__
from timbre.cli import app
from timbre.cli.errors import explain
from timbre.tasks.latest import COMPARISON, DATA_DOCS, REPORT, latest_folder, point_latest


def test_the_newest_report_is_linked_and_opened_by_name(home: Path) -> None:
    pages = home / "artifacts" / "verdict" / "1"
    (pages / "docs").mkdir(parents=True)
    (pages / "report.html").write_text("one")
    (pages / "docs" / "index.html").write_text("docs")
    point_latest("literary", {REPORT: pages / "report.html", DATA_DOCS: pages / "docs", COMPARISON: pages / "report.html"})
    assert (latest_folder("literary") / REPORT).read_text() == "one"
    done = CliRunner().invoke(app, ["open", "--print"])
    assert done.exit_code == 0 and done.output.strip() == str(home / "latest" / "literary" / "report.html")
    assert CliRunner().invoke(app, ["open", "data-docs", "--print"]).output.strip().endswith("data_docs/index.html")

    (pages / "two.html").write_text("two")
    point_latest("literary", {REPORT: pages / "two.html", DATA_DOCS: pages / "docs", COMPARISON: None})
    assert (latest_folder("literary") / REPORT).read_text() == "two" and not (latest_folder("literary") / COMPARISON).exists()
    home.rename(home.with_name("moved"))
    assert (home.with_name("moved") / "latest" / "literary" / REPORT).read_text() == "two"
    home.with_name("moved").rename(home)


@pytest.mark.usefixtures("home")
def test_a_style_without_a_release_is_a_sentence() -> None:
    done = CliRunner().invoke(app, ["open", "--style", "literary"])
    assert done.exception is not None
    assert explain(done.exception) == ("no report.html of 'literary' is here yet: `timbre run --style literary` makes it", 2)


def test_the_version_is_said() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"timbre {__version__}\n"


@pytest.mark.usefixtures("home")
def test_a_style_that_is_nearly_right_is_named() -> None:
    done = CliRunner().invoke(app, ["run", "--style", "litrary", "--dry-run"])
    assert done.exception is not None and "did you mean literary?" in explain(done.exception)[0]
