"""What is tried again, and what is not; a step that hangs is ended."""

import sys
from pathlib import Path

import pytest

from timbre.tasks.stage import Killed, _again, run_command
from timbre.tasks.trying import OutOfTime, Unreachable, may_pass


def test_a_remote_that_did_not_answer_is_tried_again_and_a_refusal_or_a_bug_is_not() -> None:
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    refused = OperationalError("SELECT 1", {}, Exception("connection to server at 127.0.0.1 failed: Connection refused"))
    for passing in (Unreachable("the data could not be sent"), ConnectionRefusedError(), requests.ConnectionError("no route"), refused):
        assert may_pass(passing) and _again(4, passing), passing
    away = MlflowException("API request to http://127.0.0.1:1 failed with exception HTTPConnectionPool(…): Max retries exceeded")
    try:
        raise RuntimeError("the run could not be written") from away
    except RuntimeError as error:
        assert may_pass(error)
    for lasting in (ValueError("no such style"), KeyError("nll"), MlflowException("Run 'x' not found"), OutOfTime("took more than 3 s")):
        assert not may_pass(lasting) and not _again(1, lasting), lasting


def test_what_was_killed_is_tried_once_more() -> None:
    assert _again(1, Killed("ended by SIGKILL")) and not _again(2, Killed("ended by SIGKILL"))


def test_a_step_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "outlived"
    code = f"import subprocess, sys, time; subprocess.Popen(['sh', '-c', 'sleep 30; touch {mark}']); time.sleep(60)"
    with pytest.raises(OutOfTime, match="took more than 1 seconds and was ended; a step that hangs is not tried again"):
        run_command([sys.executable, "-c", code], timeout=1)
    import psutil

    assert not [one for one in psutil.process_iter() if str(mark) in " ".join(_words(one))]


def _words(process: object) -> list[str]:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return process.cmdline()
    except psutil.Error:
        return []
