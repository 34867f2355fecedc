"""Steps forked from one process that has imported what nearly all of them import.

A new interpreter spends three to five seconds of CPU on torch, transformers and peft, and a release has a dozen steps. So a run
starts one process (`timbre.cli.forked`) with its first step; that imports them once, and forks each step from itself. A step is as
apart as one with an interpreter of its own: a session that is ended as a whole, memory that goes back when it ends, a death that
costs nobody else. The process lives as long as somebody holds the other end of its socket: when the run is gone, however it went,
the step that runs is ended, and the process goes too.

Where a GPU is, steps start as they always did: a library that looks at the device while it is imported makes it useless after a fork.
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

PROGRAM = "timbre.cli.forked"
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
    """The process that steps are forked from, started with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: socket.socket | None = None
        self._one = threading.Lock()
        self._unfit = False

    def fork(self, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str], stderr: int) -> Forked | None:
        """`timbre WORDS` in a session of its own, its output dropped, its errors to a file descriptor.

        None where one runs already, or the process cannot be had (it is not asked for again): then the caller starts an interpreter.
        """
        if self._unfit or not self._one.acquire(blocking=False):
            return None
        try:
            pid = self._asked({"words": list(words), "cwd": str(cwd), "environment": dict(environment)}, stderr)
        except BaseException:
            self._one.release()
            raise
        if pid is None or self._owner is None:
            self._unfit = True
            self.close()
            self._one.release()
            return None
        return Forked(pid, self._owner, self._one)

    def _asked(self, request: Mapping[str, Any], stderr: int) -> int | None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._owner is not None
        with os.fdopen(os.memfd_create("timbre-step"), "wb") as written:
            written.write(json.dumps(request).encode())
            written.flush()
            try:
                socket.send_fds(self._owner, [b"fork"], [written.fileno(), stderr])
                said = _received(self._owner)
            except OSError:
                return None
        return int(said["pid"]) if said else None

    def _start(self) -> None:
        self._owner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", PROGRAM, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True
            )

    def close(self) -> None:
        """Let the process go, with what it runs."""
        if self._owner is not None:
            self._owner.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_SECONDS)
            self._process.kill()
            self._process.wait()
        self._owner = self._process = None


_open: list[Forks] = []


@contextmanager
def forking() -> Iterator[None]:
    """Meanwhile the steps of this process are forked, where that is safe; inside another such block nothing changes."""
    if _open or not sys.platform.startswith("linux") or any(Path(device).exists() for device in _DEVICES):
        yield
        return
    _open.append(Forks())
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
