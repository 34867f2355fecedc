"""The documentation as a site: built without a warning, complete, and silent on the network."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from timbre import __version__, api
from timbre.cli import app
from timbre.config import Frozen, ReleaseConfig

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_no_page_asks_anything_of_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        html = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", html)
        assert tags and not [tag for tag in tags if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_the_reference_holds_every_command_every_field_and_every_name(site: Path) -> None:
    said = {name: (site / "reference" / f"{name}.html").read_text(encoding="utf-8") for name in ("command", "configuration", "api")}
    commands = getattr(get_command(app), "commands")  # noqa: B009
    assert len(commands) > 15 and all(f"timbre {name}" in said["command"] for name in commands)
    release = ReleaseConfig()
    sections = [value for name in ReleaseConfig.model_fields if isinstance(value := getattr(release, name), Frozen)]
    assert len(sections) > 7
    for section in (release, *sections):
        owners = [f"{kind.__module__}.{kind.__name__}" for kind in type(section).__mro__ if issubclass(kind, Frozen)]
        for name in type(section).model_fields:
            assert any(f"{owner}.{name}" in said["configuration"] for owner in owners), (owners[0], name)
    assert "Weight of the observed token." in said["configuration"]
    assert all(f"timbre.api.{name}" in said["api"] for name in ("load", "make_targets", "train", "generate", "loss", "Targets.gain"))
    assert api.load.__doc__ and "Raises" in said["api"]


def test_each_page_stands_under_one_head(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert {path.parent.as_posix() for path in pages} == {".", "tutorial", "how-to", "reference", "explanation", "adr"}
    index = (site / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{path.with_suffix(".html").as_posix()}"' in index for path in pages if path.parent != Path()), "in the navigation"


def test_the_files_that_a_stranger_looks_for_agree_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert changes.startswith("# Changelog\n") and "\n## Unreleased\n" in changes
    released = re.findall(r"^## \[(.+)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert released[0] == (__version__, str(citation["date-released"])) and released == sorted(released, reverse=True)
    kinds = re.findall(r"^### (.+)$", changes, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"} and "Fixed" in kinds
