"""Two released versions against each other: the same items, the same gates, one page."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.artifacts import Artifact, FileInput
from timbre.config import EvaluationConfig
from timbre.gates.comparison import compare
from timbre.gates.verdict import Judgement


def against(studio: Any, quick: FileInput, ours: Any, theirs: Any, folder: Path) -> tuple[Judgement, str]:
    artifacts: dict[str, Artifact] = studio.artifacts(ours) | {"base": studio.artifacts(theirs)["candidate"]}
    judgement = compare(artifacts, quick, ("v5", "v3"), folder)
    return judgement, (folder / "report.html").read_text()


def test_the_better_version_passes_and_the_worse_one_fails(studio: Any, quick: FileInput, scene: Any, tmp_path: Path) -> None:
    worse = replace(scene, candidate=scene.base, adapter_seed=2)
    judgement, page = against(studio, quick, scene, worse, tmp_path)
    likelihood = next(gate for gate in judgement.gates if gate.name == "held_out_nll")
    assert judgement.verdict == "PASS" and likelihood.sentence.startswith("Better than v3 by")
    assert "v5 compared with v3." in page and "Differences to the base" not in page and "<th>v3</th>" in page and "<h3>v5</h3>" in page
    assert "Measurably better than v3: Held-out likelihood, " in page

    judgement, page = against(studio, quick, worse, scene, tmp_path)
    likelihood = next(gate for gate in judgement.gates if gate.name == "held_out_nll")
    assert (judgement.verdict, likelihood.verdict) == ("FAIL", "FAIL") and likelihood.sentence.startswith("Worse than v3 by")
    assert "Measurably worse than v3: Held-out likelihood" in page and "less than v3" in page and "less than base" not in page


def test_a_version_that_is_no_better_than_the_last_is_not_shown_as_a_failed_release(
    studio: Any, quick: FileInput, scene: Any, tmp_path: Path
) -> None:
    """Each of them passed beside the base: that the newer one does not beat the older is no verdict on its release."""
    judgement, page = against(studio, quick, scene, replace(scene, adapter_seed=2), tmp_path)
    card = (tmp_path / "report.md").read_text()
    body = re.sub(r'class="[^"]*"', "", page[page.index("<main>") :])
    assert "FAIL" not in body and "is not released" not in body and "No verdict on a release" in body
    assert "Not told apart from v3: " in page and "**v5 compared with v3.** " in card
    assert next(gate for gate in judgement.gates if gate.name == "held_out_nll").verdict != "PASS"  # asked all the same, for programs


def test_terminal_and_json_say_what_the_page_says(
    studio: Any, quick: FileInput, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One word for one thing; where the versions come from is another test's."""
    import timbre.tasks.comparison as comparing
    from timbre.cli import app

    judgement, page = against(studio, quick, replace(scene, candidate=scene.base, adapter_seed=2), scene, tmp_path)
    found = comparing.Comparison("timbre-literary", 5, 3, judgement, tmp_path / "report.html")
    monkeypatch.setattr(comparing, "compare_versions", lambda *_: found)
    told = CliRunner().invoke(app, ["compare", "5", "3"]).output
    spoken = CliRunner().invoke(app, ["compare", "5", "3", "--json"]).output
    row = json.loads(spoken)
    assert row["verdict"] == "does not hold" and {gate["verdict"] for gate in row["gates"]} <= {"holds", "does not hold", "cannot tell"}
    assert row["why"] in page and row["why"] in " ".join(told.split()) and "no verdict on a release" in told
    assert "does not hold" in told and "■ does not hold" in page
    assert not re.search("FAIL|PASS|INCONCLUSIVE", told + spoken)
    assert max(map(len, told.replace(str(tmp_path), "").splitlines())) <= 80


def test_versions_measured_differently_are_not_compared(studio: Any, quick: FileInput, scene: Any, tmp_path: Path) -> None:
    artifacts = studio.artifacts(scene)
    other = studio.artifacts(replace(scene, base_config=EvaluationConfig(prompts=99), adapter_seed=2))
    judgement = compare(artifacts | {"base": other["base"]}, quick, ("v5", "v3"), tmp_path)
    assert judgement.verdict == "FAIL"
    assert "measured with another prompts" in next(gate for gate in judgement.gates if gate.name == "lineage").sentence
