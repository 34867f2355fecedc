"""A stage in a process group of its own: its exit code comes back as the error it was, and nothing of it outlives it."""

import os
import sys
import time
from pathlib import Path

import pytest

from timbre.artifacts import IntegrityError


def _says(code: int, *words: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; print('noise'); sys.stderr.write({chr(10).join(words)!r}); sys.exit({code})"]


def test_exit_codes_of_a_stage_come_back_as_the_errors_they_were() -> None:
    from tasks.stage import run_command

    run_command(_says(3, "timbre: no"), accepted=(0, 3))
    with pytest.raises(ValueError, match=r"^the text is empty$"):
        run_command(_says(2, "loading", "timbre: the text is empty", "a late warning"))
    with pytest.raises(IntegrityError, match=r"^damaged$"):
        run_command(_says(6, "timbre: damaged"))
    with pytest.raises(RuntimeError, match="exit code 1"):
        run_command(_says(1, "Traceback"))


def test_what_a_stage_started_ends_with_it(tmp_path: Path) -> None:
    from tasks.stage import run_command

    note = tmp_path / "child"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600'], start_new_session=True, stderr=subprocess.DEVNULL);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); sys.exit(6)"
    )
    with pytest.raises(IntegrityError):
        run_command([sys.executable, "-c", code])
    deadline = time.monotonic() + 10
    while _runs(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(note.read_text()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
