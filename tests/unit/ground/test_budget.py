"""A run whose time is spent stops before its next stage, keeps what is finished, and goes on when it is given more."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from timbre.artifacts import ArtifactStore, Input, Stage, Workspace
from timbre.budget import DEADLINE, BudgetSpent, budget, check
from timbre.cli.errors import explain
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.settings import Settings


def _write(_: Frozen, __: Mapping[str, Input], work: Workspace) -> None:
    (work.output / "word.txt").write_text("word")


def test_what_is_finished_is_found_and_nothing_new_is_begun(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, SILENT)
    first, second = Stage("first", 1, _write), Stage("second", 1, _write)
    made = store.build(first, Frozen(), {})
    with budget(1e-9):
        assert store.build(first, Frozen(), {}).digest == made.digest
        with pytest.raises(BudgetSpent, match="before the stage second") as stopped:
            store.build(second, Frozen(), {})
    assert "TIMBRE_BUDGET_MINUTES" in explain(stopped.value)[0] and explain(stopped.value)[1] == 2
    assert store.build(second, Frozen(), {}).file("word.txt").read_text() == "word"


def test_one_budget_holds_for_all_that_runs_inside_it() -> None:
    check("here")  # no budget, nothing to spend
    with budget(5):
        outer = os.environ[DEADLINE]
        with budget(1e-9):
            assert os.environ[DEADLINE] == outer
            check("here")
        assert os.environ[DEADLINE] == outer
    assert DEADLINE not in os.environ
    with budget(None):
        assert DEADLINE not in os.environ


def test_a_budget_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_BUDGET_MINUTES", "0")
    with pytest.raises(ValueError, match="budget_minutes"):
        Settings()
