"""Commands that start others: run as a group, ended as a group, and found again after a crash.

`kill -9` of DVC leaves its stage running, and a second one would write into the same folder. So every command carries a
token in its environment, which whatever it starts inherits; the token is on disk before the command starts, and the
next owner ends what still carries it.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from timbre.artifacts import write_atomically
from timbre.tasks.forks import Forked, Forks
from timbre.tasks.trying import OutOfTime

TOKEN = "TIMBRE_PROCESS_TOKEN"
_STEPS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))
_TAIL_LINES = 60
_listeners: list[Callable[[str], None]] = []


@dataclass(frozen=True)
class Finished:
    """How a command ended, and the end of what it said."""

    code: int
    lines: tuple[str, ...]


def run_group(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    token_file: Path | None = None,
    timeout: float | None = None,
    hide: re.Pattern[str] | None = None,
    output: bool = True,
) -> Finished:
    """Run a command in a session of its own; when we are interrupted, or it takes longer than `timeout` seconds, all of it ends.

    Args:
        token_file: exists while the command runs, and after a crash of ours; None where a leftover does no harm.
        hide: lines of its output that are not passed on to our stderr.
        output: whether its stdout is passed on and kept like its stderr, or dropped.

    Raises:
        OutOfTime: it took too long.
    """
    token = uuid.uuid4().hex
    if token_file is not None:
        write_atomically(token_file, token.encode())
    process = subprocess.Popen(
        command, cwd=cwd, env={**environment, TOKEN: token}, stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=subprocess.PIPE if output else subprocess.DEVNULL, stderr=subprocess.STDOUT if output else subprocess.PIPE,
    )  # fmt: skip
    spoken = process.stdout or process.stderr
    assert spoken is not None
    try:
        return _followed(process, spoken, hide, timeout, command, lambda: end_group(token, process))
    finally:
        if token_file is not None:
            token_file.unlink(missing_ok=True)


def run_forked(
    forks: Forks, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout: float | None = None
) -> Finished | None:
    """`timbre WORDS`, forked rather than started, and ended as `run_group` ends it; its stdout is dropped.

    None where it cannot be forked.

    Raises:
        OutOfTime: it took too long.
    """
    token, begun = uuid.uuid4().hex, time.monotonic()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as spoken:
        try:
            process = forks.fork(words, cwd=cwd, environment={**environment, TOKEN: token}, stderr=writing, timeout=timeout)
        finally:
            os.close(writing)
        if process is None:
            return None

        def end() -> None:
            end_group(token, process, session=process.pid)
            process.wait(_STEPS[-1][1])

        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
        return _followed(process, spoken, None, left, ("timbre", *words), end)


def _followed(
    process: "subprocess.Popen[bytes] | Forked", spoken: IO[bytes], hide: re.Pattern[str] | None, timeout: float | None,
    command: Sequence[str], end: Callable[[], None],
) -> Finished:  # fmt: skip
    """Pass on what it says until it ends; then `end` what it left."""
    lines: deque[str] = deque(maxlen=_TAIL_LINES)
    reader = threading.Thread(target=_pass_on, args=(spoken, lines, hide), daemon=True)
    reader.start()
    try:
        code = process.wait(timeout)
        reader.join(5)
    except subprocess.TimeoutExpired as error:
        raise OutOfTime(f"{' '.join(command[:4])} took more than {timeout:.0f} seconds and was ended") from error
    finally:
        end()
        reader.join(5)  # whoever held the other end is gone
    return Finished(code, tuple(lines))


def end_leftovers(token_file: Path) -> bool:
    """End what a crashed owner left running. True if there was a crash."""
    try:
        token = token_file.read_text().strip()
    except FileNotFoundError:
        return False
    end_group(token)
    token_file.unlink(missing_ok=True)
    return True


def end_group(
    token: str, process: "subprocess.Popen[bytes] | Forked | None" = None, *, variable: str = TOKEN, spare: int = 0, session: int = 0
) -> None:
    """Interrupt, then terminate, then kill every process, except `spare`, that carries the token in this environment variable.

    Args:
        session: also those of this session; a process that was forked shows the environment of the one it was forked from.

    Raises:
        RuntimeError: one of them cannot be ended.
    """

    def alive() -> list[int]:
        if process is not None:
            process.poll()  # a child that has ended but was not waited for would still be listed
        return [pid for pid in {*_carriers(token, variable), *_members(session)} if pid != spare]

    for kind, grace in _STEPS:
        if not (running := alive()):
            return
        for pid in running:
            try:
                os.kill(pid, kind)
            except ProcessLookupError:
                continue
        if _until(lambda: not alive(), grace):
            return
    raise RuntimeError(f"processes {', '.join(map(str, alive()))} of an interrupted build cannot be ended; end them, then try again")


def _carriers(token: str, variable: str) -> list[int]:
    """Processes, other than this one, with the token in their environment; zombies have none."""
    needle = f"{variable}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if needle in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended, or belongs to somebody else
    return found


def _members(session: int) -> list[int]:
    """Processes, other than this one, of a session; zombies are none."""
    found = []
    for entry in Path("/proc").iterdir() if session else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                state, _, _, leader, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended
            if int(leader) == session and state != "Z":
                found.append(int(entry.name))
    return found


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _pass_on(stream: IO[bytes], lines: deque[str], hide: re.Pattern[str] | None) -> None:
    """Copy output line by line, and bars as they are drawn again; what matches `hide` is only remembered."""
    pending = b""
    while chunk := os.read(stream.fileno(), 4096):
        *complete, pending = re.split(rb"(?<=[\r\n])", pending + chunk)
        for part in complete:
            _show(part.decode(errors="replace"), lines, hide)
    _show(pending.decode(errors="replace"), lines, hide)


@contextmanager
def listening(heard: Callable[[str], None]) -> Iterator[None]:
    """Pass every line of what runs meanwhile to `heard`, bars included; called from another thread."""
    _listeners.append(heard)
    try:
        yield
    finally:
        _listeners.remove(heard)


def _show(part: str, lines: deque[str], hide: re.Pattern[str] | None) -> None:
    for heard in _listeners:
        heard(part)
    if not part.endswith("\r") and part:
        lines.append(part.rstrip("\n"))
    if hide is None or not hide.match(part):
        sys.stderr.write(part)
        sys.stderr.flush()
