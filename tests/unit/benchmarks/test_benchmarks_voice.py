"""The voice benchmark reads what a run left, and refuses to time a run that is not a fresh one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import voice
from timbre.config import release_config


def test_a_home_that_holds_more_than_set_up_is_not_timed(home: Path) -> None:
    (home / "artifacts" / "target").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds target already"):
        voice.fresh_run(release_config("literary"), home)


def test_a_home_without_the_run_says_what_is_missing(home: Path) -> None:
    with pytest.raises(ValueError, match="has no prompts of this configuration"):
        voice.figures(release_config("literary"), home)


def test_it_ends_with_an_error_where_nothing_was_run(home: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.voice", "--read", str(home), "--json"]
    done = subprocess.run(command, env=os.environ | {"TIMBRE_HOME": str(home)}, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "run it first" in done.stderr and not done.stdout.startswith("{")
