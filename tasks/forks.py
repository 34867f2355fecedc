"""Steps forked from one process that has imported what nearly all of them import.

A new interpreter spends three to five seconds of CPU on torch, transformers and peft, and a release has a dozen steps. So a run
starts one process (`timbre.cli.forked`) with its first step; that imports them once, and forks each step from itself. A step is as
apart as one with an interpreter of its own: a session that is ended as a whole, memory that goes back when it ends, a death that
costs nobody else. The process lives as long as somebody holds the other end of its socket: when the run is gone, however it went,
the step that runs is ended, and the process goes too, whatever it is doing. What it imports counts against the time limit of the first
step; imports that take minutes are ended, and steps start with an interpreter of their own.

Where a GPU is, nothing is imported beforehand, for a library that looks at the device while it is imported makes it useless after a
fork; a step is forked all the same, so that it ends with its run.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from timbre.tasks.trying import OutOfTime

PROGRAM, BARE = "timbre.cli.forked", "bare"
IMPORT_SECONDS = 600.0
"""How long the imports may take, which need five seconds of CPU: longer than on any machine that still does something."""
_ENDS_SECONDS = 30.0
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvmap")
_ANSWER_BYTES = 4096
_LOST = -9
"""The exit code of a step whose process was ended without anybody who could say how."""


class Forked:
    """A step that was forked, as `subprocess.Popen` shows one: its process leads a session of its own."""

    def __init__(self, pid: int, owner: socket.socket, done: threading.Lock) -> None:
        self.pid, self._owner, self._done = pid, owner, done
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), or None while it runs."""
        return self._code if self._code is not None or not self._said(0) else self._heard()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        if self._code is None and not self._said(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self._code if self._code is not None else self._heard()

    def _said(self, timeout: float | None) -> bool:
        return bool(select.select([self._owner], [], [], timeout)[0])

    def _heard(self) -> int:
        said = _received(self._owner)
        self._code = int(said["code"]) if said else _LOST
        self._done.release()
        return self._code


class Forks:
    """The process that steps are forked from, started with the first of them.

    Args:
        imports: whether it imports what steps share.
    """

    def __init__(self, *, imports: bool = True) -> None:
        self._imports = imports
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: socket.socket | None = None
        self._life: int | None = None
        self._one = threading.Lock()
        self._unfit = False

    def fork(
        self, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str], stderr: int, timeout: float | None = None
    ) -> Forked | None:
        """`timbre WORDS` in a session of its own, its output dropped, its errors to a file descriptor.

        None where one runs already, or the process cannot be had (it is not asked for again): then the caller starts an interpreter.

        Raises:
            OutOfTime: the imports took more than `timeout` seconds.
        """
        if self._unfit or not self._one.acquire(blocking=False):
            return None
        try:
            pid = self._asked({"words": list(words), "cwd": str(cwd), "environment": dict(environment)}, stderr, timeout)
        except BaseException:
            self.close()
            self._one.release()
            raise
        if pid is None or self._owner is None:
            self._unfit = True
            self.close()
            self._one.release()
            return None
        return Forked(pid, self._owner, self._one)

    def _asked(self, request: Mapping[str, Any], stderr: int, timeout: float | None) -> int | None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._owner is not None
        with os.fdopen(os.memfd_create("timbre-step"), "wb") as written:
            written.write(json.dumps(request).encode())
            written.flush()
            try:
                socket.send_fds(self._owner, [b"fork"], [written.fileno(), stderr])
            except OSError:
                return None
        limit = IMPORT_SECONDS if timeout is None else min(timeout, IMPORT_SECONDS)
        if not select.select([self._owner], [], [], limit)[0]:
            late = f"the imports that steps share took more than {limit:.0f} seconds and were ended (python -m {PROGRAM})"
            if limit == timeout:
                raise OutOfTime(late)
            print(f"{late}: steps start with an interpreter of their own", file=sys.stderr, flush=True)
            return None
        said = _received(self._owner)
        return int(said["pid"]) if said else None

    def _start(self) -> None:
        self._owner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watched, self._life = os.pipe()
        given = (theirs.fileno(), watched)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, *map(str, given), *([] if self._imports else [BARE])],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=given, start_new_session=True,
            )  # fmt: skip
        finally:
            theirs.close()
            os.close(watched)

    def close(self) -> None:
        """Let the process go, with what it runs; one that imports still is ended."""
        if self._owner is not None:
            self._owner.close()
        if self._life is not None:
            os.close(self._life)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_SECONDS)
            self._process.kill()
            self._process.wait()
        self._owner = self._process = self._life = None


_open: list[Forks] = []


@contextmanager
def forking() -> Iterator[None]:
    """Meanwhile the steps of this process are forked, on Linux; inside another such block nothing changes."""
    if _open or not sys.platform.startswith("linux"):
        yield
        return
    _open.append(Forks(imports=not any(Path(device).exists() for device in _DEVICES)))
    try:
        yield
    finally:
        _open.pop().close()


def current() -> Forks | None:
    """Where steps are forked from; None outside of `forking`."""
    return _open[-1] if _open else None


def _received(owner: socket.socket) -> dict[str, Any] | None:
    try:
        said = owner.recv(_ANSWER_BYTES)
    except ConnectionError:
        said = b""
    return dict(json.loads(said)) if said else None
