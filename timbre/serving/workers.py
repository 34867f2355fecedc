"""Several processes that answer on one socket, and one that keeps them up.

The socket is bound once and handed down, so that what waits to be accepted outlives any of them. A process that dies is started anew;
what it was answering breaks off, and OpenAI's clients ask again by themselves.
"""

import ctypes
import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

_log = logging.getLogger("timbre.serving")
_LONGEST_WAIT = 30.0
_LOOK_SECONDS = 0.2


@dataclass
class _Worker:
    process: "subprocess.Popen[str]"
    ready: threading.Event
    said: str = ""


def end_with_parent() -> None:
    """Called in a worker: it stops in peace when the process that keeps it up is killed (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGTERM))


def without_workers(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments without `--workers`."""
    kept: list[str] = []
    skipped = False
    for argument in arguments:
        if skipped:
            skipped = False
        elif argument == "--workers":
            skipped = True
        elif not argument.startswith("--workers="):
            kept.append(argument)
    return kept


class Workers:
    """So many processes of one command, until a signal to stop."""

    def __init__(self, command: Sequence[str], bound: socket.socket, count: int) -> None:
        """Begin nothing yet.

        Args:
            command: what each runs; `--socket FD` is added. It says one line on stdout when it answers.
            bound: the socket, listening or not.
            count: how many.
        """
        self._command, self._bound, self._count = list(command), bound, count
        self._workers: list[_Worker] = []
        self._stopping = False

    def run(self, started: Callable[[str], None]) -> int:
        """Start them, keep them up, and end them when SIGINT, SIGTERM or SIGHUP comes; the exit code.

        Args:
            started: called once, with the line that the first one said, when all answer.

        Raises:
            RuntimeError: one ended before it ever answered; what it said is on stderr.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._workers = [self._spawn() for _ in range(self._count)]
        try:
            if self._all_ready():
                started(self._workers[0].said)
                self._keep_up()
            codes = [worker.process.wait() for worker in self._workers]
            return next((code for code in codes if code), 0)
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()

    def _all_ready(self) -> bool:
        while not self._stopping and not all(worker.ready.is_set() for worker in self._workers):
            if any(worker.process.poll() is not None for worker in self._workers):
                raise RuntimeError("a worker ended before it answered: it says above why")
            time.sleep(_LOOK_SECONDS)
        return not self._stopping

    def _keep_up(self) -> None:
        wait = 0.0
        while not self._stopping:
            for place, worker in enumerate(self._workers):
                if worker.process.poll() is None or self._stopping:
                    continue
                _log.error("worker ended", extra={"about": {"process": worker.process.pid, "code": worker.process.returncode}})
                time.sleep(wait)
                wait = min(_LONGEST_WAIT, 2 * wait + 1) if not worker.ready.is_set() else 0.0
                self._workers[place] = self._spawn()
            time.sleep(_LOOK_SECONDS)

    def _spawn(self) -> _Worker:
        number = self._bound.fileno()
        process = subprocess.Popen(
            [*self._command, "--socket", str(number)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, pass_fds=(number,),
            start_new_session=True,
        )  # fmt: skip
        worker = _Worker(process, threading.Event())
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    @staticmethod
    def _listen(worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            worker.said = worker.said or line.strip()
            worker.ready.set()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """Pass the wish on; a second one cuts off what is still written."""
        self._stopping = True
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
