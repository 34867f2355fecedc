"""Programs that a model wrote can compute, and nothing else; skipped where the kernel makes no namespaces for a user."""

import socket
import sys
import tempfile
from pathlib import Path

import pytest

from timbre.benchmarks import sandbox
from timbre.benchmarks.sandbox import run_program

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))


def test_a_program_that_reaches_its_end_passes() -> None:
    outcome = run_program("import math\nassert math.comb(5, 2) == 10\nprint('fine')")
    assert outcome.passed and outcome.reason == "ended" and outcome.output == "fine"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert 1 + 1 == 3", "exit code 1"), ("def f(:", "exit code 1"), ("import os; os._exit(0)", "ended early"), 
        ("raise SystemExit(0)", "ended early"),
        ("x = 'x' * (1 << 40)", "exit code 1"), ("print('x' * 100, end='')\nraise SystemExit(3)", "exit code 3"),
        ("#" * 200_000, "too long"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_is_no_pass(source: str, reason: str) -> None:
    outcome = run_program(source, memory=1 << 29)
    assert not outcome.passed and outcome.reason == reason


def test_a_program_that_never_ends_is_stopped_with_all_it_started() -> None:
    source = "import os, time\nfor _ in range(5):\n    os.fork()\ntime.sleep(600)"
    outcome = run_program(source, seconds=1)
    assert outcome == sandbox.Outcome(False, "time", "")


def test_nothing_outside_its_own_scratch_folder_can_be_written_or_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    source = f"""
import os, shutil
for attempt in (lambda: open({str(kept)!r}, "w"), lambda: os.remove({str(kept)!r}), lambda: shutil.rmtree({str(tmp_path)!r})):
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit("it could")
open("/tmp/own", "w").write("its own")
"""
    assert run_program(source).passed
    assert kept.read_text() == "kept" and not Path("/tmp/own").exists()


def test_there_is_no_way_to_the_network_not_even_to_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = run_program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)")
        assert outcome.reason == "exit code 1" and "OSError" in outcome.output


def test_the_mounts_cannot_be_changed_back_and_no_secret_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of the user")
    source = """
import ctypes, os
assert "A_SECRET" not in os.environ
libc = ctypes.CDLL(None)
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x1020), None) == -1
assert all(set(line.split()[1]) == {"0"} for line in open("/proc/self/status") if line.startswith("Cap"))
if libc.unshare(0x10020000) == 0:  # user and mount namespaces of its own
    assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x1020), None) == -1
"""
    outcome = run_program(source)
    assert outcome.passed, outcome.output


def test_printing_without_end_is_cut_off() -> None:
    outcome = run_program("while True:\n    print('x' * 4096)", seconds=5)
    assert not outcome.passed and len(outcome.output) <= 2000


def test_where_no_sandbox_can_be_made_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "unavailable", lambda: "no namespaces here")
    with pytest.raises(ValueError, match="no namespaces here"):
        run_program(f"open({str(tmp_path / 'run')!r}, 'w')")
    assert not (tmp_path / "run").exists()


def test_an_environment_below_tmp_is_as_good_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the program's own /tmp lies over it
        python = Path(folder) / "python"
        python.symlink_to(Path(sys.executable).resolve())
        monkeypatch.setattr(sys, "executable", str(python))
        outcome = run_program("print('fine')")
    assert outcome.passed and outcome.output == "fine"
