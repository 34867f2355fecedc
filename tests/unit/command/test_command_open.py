"""The newest pages of a style have a place that does not change."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre import __version__
from timbre.artifacts import ArtifactStore, Input, Stage, Workspace
from timbre.cli import app
from timbre.cli.errors import explain
from timbre.config import Frozen
from timbre.gates.made import FACTS_HERE, LINKS_HERE
from timbre.progress import SILENT
from timbre.settings import settings
from timbre.tasks.latest import COMPARISON, DATA_DOCS, REPORT, latest_folder, link_pages, pages_of, point_latest
from timbre.tasks.release import Released
from timbre.tasks.stage import Built


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


def test_the_newest_report_says_which_version_it_is_and_leads_to_the_other_pages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: dict[str, dict[str, str]] = {
        "verdict": {"report.html": f"<dl>{FACTS_HERE}</dl>{LINKS_HERE}<p>the rest</p>"},
        "corpus": {"data_docs/index.html": "docs"},
        "target": {"summary.json": "{}"},
        "model": {"model.json": "{}"},
    }

    def made(name: str) -> Built:
        def build(_: Frozen, __: Mapping[str, Input], work: Workspace) -> None:
            for file, text in contents[name].items():
                (work.output / file).parent.mkdir(exist_ok=True)
                (work.output / file).write_text(text)

        artifact = ArtifactStore(home, SILENT).build(Stage(name, 1, build), Frozen(), {})
        return Built(step=name, digest=artifact.digest, cached=False, seconds=1.0)

    built = {name: made(name) for name in contents}
    released = Released(model="timbre-literary", verdict="PASS", version=3, champion=3, promoted=True)
    with pytest.warns(UserWarning, match="target-.* could not be made"):  # this one is no target: a page that fails fails no release
        link_pages("literary", built, released)
    page = latest_folder("literary") / REPORT
    text = page.read_text()
    assert "<dt>version</dt><dd>v3, the champion</dd>" in text and "<dt>date</dt>" in text and "s for all steps" in text
    places = re.findall('href="(.*?)"', text)
    assert places == ["data.html", "data_docs/index.html"] and all((page.parent / place).is_file() for place in places)
    assert "<p>the rest</p>" in text and "href" not in built["verdict"].open().file(REPORT).read_text(), "the stored page stays as it is"

    monkeypatch.setenv("TIMBRE_HOUR_PRICE", "7200")
    settings.cache_clear()
    with pytest.warns(UserWarning):
        link_pages("literary", built, released.model_copy(update={"version": 4, "champion": 3}))
    assert "v4, not the champion" in page.read_text()
    stable = pages_of("literary", built["verdict"].digest)
    assert stable == {"report": page, "data_docs": page.parent / "data_docs" / "index.html"}
    assert pages_of("literary", "f" * 64) == {}, "the newest pages are of another verdict"
    seconds = sum(one.open().manifest.built["seconds"] for one in built.values())
    assert f"for all steps, {2 * seconds:.2f} at 7200 an hour" in page.read_text()


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
