"""`python -m timbre.cli.forked SOCKET LIFE [bare]`: imports what steps import, then forks `timbre` on request; see `timbre.tasks.forks`.

A child comes back from `serve` and is, from there on, a `timbre` command like any other.
"""

import gc
import importlib
import json
import os
import select
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from timbre import cli
from timbre.loopback import spare_loopback
from timbre.settings import settings
from timbre.tasks.forks import BARE
from timbre.tasks.lifeline import end_with
from timbre.tasks.stores.processes import TOKEN, end_group

PRELOADED = (
    "numpy", "pydantic", "safetensors.torch", "torch", "transformers", "transformers.models.auto.modeling_auto", "peft", "timbre.pipeline",
    "timbre.models.loading", "timbre.training.trainer", "timbre.inference", "timbre.evaluation", "timbre.metrics", "timbre.store",
)  # fmt: skip
"""None of them starts a thread that a fork would lose: those of OpenBLAS and of jemalloc begin anew in a child by themselves."""
_NAME_BYTES = 15


def serve(owner: socket.socket) -> None:
    """Fork until the owner is gone; returns in a child only."""
    while True:
        said, (written, stderr) = _asked(owner)
        if not said:
            os._exit(0)
        with os.fdopen(written, "rb") as stream:
            stream.seek(0)
            request = json.load(stream)
        child = os.fork()
        if child == 0:
            owner.close()
            _become(request, stderr)
            return
        os.close(stderr)
        _tell(owner, pid=child)
        _tell(owner, code=_ended(child, owner, request["environment"].get(TOKEN, "")))


def _asked(owner: socket.socket) -> tuple[bytes, tuple[int, int]]:
    try:
        said, given, _, _ = socket.recv_fds(owner, 16, 2)
    except ConnectionError:  # the owner is gone, and had not read the last answer
        said = b""
    return (said, (given[0], given[1])) if said else (b"", (-1, -1))


def _tell(owner: socket.socket, **said: int) -> None:
    with suppress(OSError):  # the owner is gone; the next reading says so
        owner.send(json.dumps(said).encode())


def _become(request: dict[str, Any], stderr: int) -> None:
    """This child is `timbre WORDS` of that folder and environment, and leads a session."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    settings.cache_clear()
    os.dup2(stderr, 2)
    os.close(stderr)
    sys.argv = ["timbre", *request["words"]]
    with suppress(OSError):
        Path("/proc/self/comm").write_text(" ".join(sys.argv)[:_NAME_BYTES])


def _ended(child: int, owner: socket.socket, token: str) -> int:
    """How the child ended; when the owner goes first, the child and all it started are ended."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle, owner.fileno()], [], [])
        if handle not in ready:
            end_group(token, session=child)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Import, serve, and in a child run the command."""
    owner, life = (int(number) for number in sys.argv[1:3])
    life = end_with(life)
    os.environ.setdefault(*cli.SPINS)
    spare_loopback(os.environ)
    for name in () if BARE in sys.argv else PRELOADED:
        with suppress(ImportError, OSError, RuntimeError):  # the step that needs it says so
            importlib.import_module(name)
    assert threading.active_count() == 1, f"a thread of Python's would be lost in a fork: {threading.enumerate()}"
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody counts them
    os.close(life)  # from here on the owner's end is read from its socket, and what runs is ended first
    serve(socket.socket(fileno=owner))
    cli.main()


if __name__ == "__main__":
    main()
