"""Two releases of one home at once: the second is refused by name or waits, as the setting says, and a killed one holds nobody up."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RUN = """
import sys
from pathlib import Path
from timbre.tasks.runs import only_run
with only_run(Path(sys.argv[1])):
    print("began", flush=True)
    sys.stdin.readline()
    print("ended", flush=True)
"""


@contextmanager
def run(home: Path, when_busy: str = "refuse") -> Iterator["subprocess.Popen[str]"]:
    """A release that begins, and ends when it is told to."""
    environment = os.environ | {"TIMBRE_WHEN_BUSY": when_busy, "TIMBRE_HOME": str(home)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", _RUN, str(home)], text=True, env=environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def told(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    with run(tmp_path) as first:
        assert told(first) == "began"
        with run(tmp_path) as second:
            _, error = second.communicate(timeout=120)
            assert second.returncode != 0 and f"process {first.pid}" in error and "TIMBRE_WHEN_BUSY=wait" in error


@pytest.mark.parametrize("ends", ["well", "killed"])
def test_the_second_waits_where_it_is_told_to_and_goes_on_however_the_first_ends(ends: str, tmp_path: Path) -> None:
    with run(tmp_path) as first:
        assert told(first) == "began"
        with run(tmp_path, "wait") as second:
            assert second.stderr is not None and second.stdin is not None and first.stdin is not None
            assert f"waiting for the run that is going on (process {first.pid}" in second.stderr.readline()
            if ends == "killed":
                os.kill(first.pid, signal.SIGKILL)
            else:
                first.stdin.write("\n")
                first.stdin.flush()
                assert told(first) == "ended"
            assert told(second) == "began"
            second.stdin.write("\n")
            second.stdin.flush()
            assert told(second) == "ended" and second.wait(60) == 0
