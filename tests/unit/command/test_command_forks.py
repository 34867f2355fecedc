"""Steps forked from one process: apart from each other and from the run, with the same bytes as ever, gone with the run."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from timbre.artifacts import ArtifactStore
from timbre.cli.forked import PRELOADED
from timbre.tasks import forks as forks_module
from timbre.tasks.forks import PROGRAM, Forks, forking
from timbre.tasks.stage import Killed, run_command
from timbre.tasks.stores.processes import run_forked
from timbre.tasks.trying import OutOfTime

_WAITS = ["stage", "train", "--config"]
"""With a pipe that nobody writes into, a command that goes on until it is ended."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    opened = Forks()
    yield opened
    opened.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "request.json")
    return tmp_path / "request.json"


def test_a_step_has_the_folder_the_variables_and_the_exit_code_of_its_own_command(forks: Forks, tmp_path: Path) -> None:
    for field in ("threads", "when_busy"):
        (tmp_path / field).mkdir()
        (tmp_path / field / "release.json").write_text("{}")
        variables = os.environ | {f"TIMBRE_{field.upper()}": "many"}
        done = run_forked(forks, [*_WAITS, "release.json"], cwd=tmp_path / field, environment=variables)
        assert done is not None and done.code == 2
        assert done.lines[-1].startswith(f"timbre: {field}: "), done.lines
    missing = run_forked(forks, [*_WAITS, "release.json"], cwd=tmp_path, environment=os.environ)
    assert missing is not None and missing.code == 2 and "release.json" in missing.lines[-1]


def test_a_forked_step_writes_the_bytes_of_a_step_with_an_interpreter_of_its_own(
    forks: Forks, tiny_model_dir: Path, tmp_path: Path
) -> None:
    words = ["stage", "model", "--model", str(tiny_model_dir)]
    homes = [tmp_path / "forked", tmp_path / "started"]
    done = run_forked(forks, words, cwd=tmp_path, environment=os.environ | {"TIMBRE_HOME": str(homes[0])})
    assert done is not None and done.code == 0, done
    command = [sys.executable, "-m", "timbre.cli", *words]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TIMBRE_HOME": str(homes[1])})
    digests = [[path.name for path in ArtifactStore(home).all()] for home in homes]
    assert digests[0] == digests[1] and len(digests[0]) == 1


def test_one_step_at_a_time_is_forked_and_one_that_takes_too_long_is_ended(forks: Forks, pipe: Path) -> None:
    reading, writing = os.pipe()
    first = forks.fork([*_WAITS, str(pipe)], cwd=pipe.parent, environment=os.environ, stderr=writing)
    assert first is not None
    assert forks.fork(["--version"], cwd=pipe.parent, environment=os.environ, stderr=writing) is None
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait(30) == -signal.SIGKILL
    with pytest.raises(OutOfTime):
        run_forked(forks, [*_WAITS, str(pipe)], cwd=pipe.parent, environment=os.environ, timeout=0.5)
    done = run_forked(forks, ["--version"], cwd=pipe.parent, environment=os.environ)
    assert done is not None and done.code == 0, "a step that was killed costs only itself"
    for end in (reading, writing):
        os.close(end)


def test_a_killed_step_is_told_as_killed_and_a_killed_process_is_started_again(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipe.parent)
    others = _behind()
    with forking():
        for victim in ("step", "process"):
            killer = threading.Thread(target=_kill_when_it_waits, args=(victim,))
            killer.start()
            with pytest.raises(Killed, match="ended by SIGKILL"):
                run_command([sys.executable, "-m", "timbre.cli", *_WAITS, str(pipe)])
            killer.join()
            assert not [child for process in _behind() for child in process.children()], "what the step left is ended"
        run_command([sys.executable, "-m", "timbre.cli", "--version"])
    assert _behind() == others


def _behind() -> list[psutil.Process]:
    """The living processes that steps of this one are forked from."""
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if PROGRAM in child.cmdline()]


def _kill_when_it_waits(victim: str) -> None:
    while not (steps := [step for process in _behind() for step in process.children()]):
        time.sleep(0.05)
    (steps[0] if victim == "step" else steps[0].parent() or steps[0]).kill()


def test_when_the_run_is_killed_its_step_and_the_process_behind_it_are_gone(pipe: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from timbre.tasks.forks import Forks\n"
        f"step = Forks().fork({[*_WAITS, str(pipe)]!r}, cwd=Path('/'), environment=os.environ, stderr=2)\n"
        "print(step.pid, flush=True); step.wait()"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert run.stdout is not None
    step = psutil.Process(int(run.stdout.readline()))
    behind = step.parent()
    assert behind is not None and PROGRAM in behind.cmdline()
    run.kill()
    run.wait()
    run.stdout.close()
    _gone, alive = psutil.wait_procs([step, behind], timeout=60)
    assert not alive


_HANGS = """
import ctypes, pathlib
pathlib.Path({begun!r}).touch()
ctypes.PyDLL(None).pause()
"""
"""Native code that never comes back, and holds the interpreter's lock meanwhile."""


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of the imports hangs; the file is there once it does."""
    begun = tmp_path / "it hangs"
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "peft.py").write_text(_HANGS.format(begun=str(begun)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    return begun


def test_imports_that_hang_count_against_the_time_of_the_first_step(hanging: Path) -> None:
    others = _behind()
    with forking(), pytest.raises(OutOfTime, match=r"the imports that steps share took more than 1 seconds .* see what it waits for"):
        run_command([sys.executable, "-m", "timbre.cli", "--version"], timeout=1)
    assert _behind() == others


def test_imports_that_take_minutes_are_told_and_steps_start_without_them(
    hanging: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forks_module, "IMPORT_SECONDS", 0.5)
    others = _behind()
    with forking():
        for _ in range(2):
            run_command([sys.executable, "-m", "timbre.cli", "--version"])
            assert _behind() == others
    assert capfd.readouterr().err.count("steps start with an interpreter of their own") == 1


def test_when_the_run_is_killed_while_imports_hang_they_are_ended(hanging: Path) -> None:
    code = (
        "import os; from pathlib import Path; from timbre.tasks.forks import Forks\n"
        "Forks().fork(['--version'], cwd=Path('/'), environment=os.environ, stderr=2)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not hanging.exists():
        assert run.poll() is None
        time.sleep(0.05)
    (behind,) = psutil.Process(run.pid).children()
    assert PROGRAM in behind.cmdline()
    run.kill()
    run.wait()
    _gone, alive = psutil.wait_procs([behind], timeout=60)
    assert not alive


def test_what_is_imported_beforehand_is_there_and_starts_no_thread_that_a_fork_would_lose(forks: Forks, tmp_path: Path) -> None:
    assert [name for name in PRELOADED if importlib.util.find_spec(name) is None] == []
    done = run_forked(forks, ["--version"], cwd=tmp_path, environment=os.environ)
    assert done is not None and done.code == 0 and forks._process is not None
    tasks = Path(f"/proc/{forks._process.pid}/task").iterdir()
    assert len([task for task in tasks if "jemalloc" not in (task / "comm").read_text()]) == 1


def test_where_a_gpu_is_steps_are_forked_from_a_process_that_has_not_loaded_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks_module, "_DEVICES", (str(tmp_path),))
    monkeypatch.chdir(tmp_path)
    others = _behind()
    with forking():
        run_command([sys.executable, "-m", "timbre.cli", "--version"])
        (behind,) = [process for process in _behind() if process not in others]
        assert "libtorch" not in Path(f"/proc/{behind.pid}/maps").read_text()
