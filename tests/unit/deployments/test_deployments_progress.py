"""A long step draws a bar on the page of its run; a short one does not."""

import re
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from timbre.tasks.stores.processes import listening, run_group

_STAGE = """
import sys, time
from timbre.progress import Progress
for _ in Progress().track(range(4), "likelihood"):
    time.sleep(.05)
sys.stderr.write("likelihood:  75%|###  | 3/4 [00:30<00:10]\\r")
"""


def test_what_a_stage_says_of_its_progress_is_heard_while_it_runs(tmp_path: Path) -> None:
    said: list[str] = []
    with listening(said.append):
        done = run_group([sys.executable, "-c", _STAGE], cwd=tmp_path, environment={"PATH": "/usr/bin:/bin"}, output=False)
    assert done.code == 0, done.lines
    assert any(re.search(r"likelihood:\s+75%\|", line) for line in said), said


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What Prefect is asked to draw, with shorter waits, in what stands for a task run."""
    from uuid import UUID

    from timbre.tasks import showing

    calls: list[Any] = []

    def create(**asked: Any) -> UUID:
        calls.append(asked)
        return UUID(int=1)

    def update(**asked: Any) -> None:
        calls.append(asked)

    monkeypatch.setattr(showing, "create_progress_artifact", create)
    monkeypatch.setattr(showing, "update_progress_artifact", update)
    monkeypatch.setattr(showing, "AFTER_SECONDS", 0.05)
    monkeypatch.setattr(showing, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(showing.TaskRunContext, "get", object)
    yield calls


def _until(condition: Any) -> None:
    import time

    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_long_step_has_a_bar_that_follows_it_to_the_end(drawn: list[Any], tmp_path: Path) -> None:
    from timbre.tasks.showing import shown
    from timbre.tasks.stores import processes

    with shown("base_evaluation", "Measure the base."):
        processes._show("likelihood:  25%|#   | 1/4 [00:10<00:30]\r", deque(), re.compile(""))
        _until(lambda: drawn)
        processes._show("bias probes:  50%|##  | 2/4 [00:20<00:20]\r", deque(), re.compile(""))
        _until(lambda: len(drawn) > 1)
    assert drawn[0] == {"progress": 25.0, "key": "progress-base-evaluation", "description": "Measure the base."}
    assert [call["progress"] for call in drawn[1:]] == [50.0, 100.0]


def test_a_short_step_draws_nothing_and_a_failed_one_is_not_drawn_whole(drawn: list[Any]) -> None:
    from timbre.tasks.showing import shown

    with shown("prompts", "Choose prompts."):
        pass
    assert drawn == []

    def fail() -> None:
        with shown("prompts", "Choose prompts."):
            _until(lambda: drawn)
            raise ValueError("no texts")

    with pytest.raises(ValueError, match="no texts"):
        fail()
    assert [call["progress"] for call in drawn] == [0.0]


def test_samples_hold_no_character_that_a_database_refuses_and_stay_in_their_lines() -> None:
    from timbre.tasks.release import samples_page

    page = samples_page([{"prompt": "It was", "base": "a\x00b\x07|c\nd", "candidate": "<b>\u2028e"}])
    assert [line for line in page.splitlines() if line] == ["### It was", "**base** a b \\|c d", "**candidate** &lt;b> e"]
