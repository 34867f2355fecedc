"""Processes that end when the one that started them does, however that went, and whatever they are doing meanwhile.

    python -m timbre.tasks.lifeline PIPE MODULE …       `python -m MODULE …`, for as long as somebody holds the other end of the pipe

The end of a pipe is a signal (SIGIO) that ends a process which does not handle it. So nobody has to look, and neither an import that
hangs nor native code that never comes back keeps a process alive. Only Linux has this; elsewhere the process lives on.
"""

import os
import runpy
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_ours: list[tuple[int, int]] = []


def start(module: str, words: Sequence[str], *, environment: Mapping[str, str]) -> "subprocess.Popen[Any]":
    """`python -m MODULE WORDS`, which ends with this process at the latest."""
    if not _ours:
        _ours.append(os.pipe())
    watched = _ours[0][0]
    command = [sys.executable, "-m", __name__, str(watched), module, *words]
    return subprocess.Popen(command, env=dict(environment), pass_fds=(watched,))


def end_with(pipe: int) -> int:
    """From here on this process ends when nobody holds the other end of a pipe; closing what this gives undoes it."""
    if not sys.platform.startswith("linux"):
        return pipe
    import fcntl  # which not every system has

    own = os.open(f"/proc/self/fd/{pipe}", os.O_RDONLY)  # whom to tell is noted at an opened file, and others share the one inherited
    os.close(pipe)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([own], [], [], 0)[0]:  # it was gone before
        os._exit(0)
    return own


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
