"""How far a long step is, as a bar on the page of its run: drawn once it has lasted ten seconds, from the bars that the stage prints."""

import contextvars
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from timbre.tasks.stores.processes import listening

AFTER_SECONDS, EVERY_SECONDS = 10.0, 5.0
_BAR = re.compile(r"([^\r\n:|]+):\s+(\d{1,3})%\|")


@contextmanager
def shown(step: str, help_text: str) -> Iterator[None]:
    """Draw the step's bar while the block runs, if it runs long enough; outside of a task nothing is drawn."""
    if TaskRunContext.get() is None:
        yield
        return
    bar = _Bar(step, help_text)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(bar.watch,), daemon=True)
    thread.start()
    try:
        with listening(bar.heard):
            yield
    except BaseException:
        bar.end(whole=False)
        raise
    else:
        bar.end(whole=True)
    finally:
        thread.join()


class _Bar:
    """What was heard last of a step, and its artifact once there is one."""

    def __init__(self, step: str, help_text: str) -> None:
        self._step, self._help = step, help_text
        self._percent, self._said = 0.0, 0.0
        self._whole = False
        self._ended = threading.Event()

    def heard(self, line: str) -> None:
        """A line of the stage; those that hold a bar say how far it is."""
        if found := _BAR.findall(line):
            self._percent = min(float(found[-1][1]), 100.0)

    def end(self, *, whole: bool) -> None:
        self._whole = whole
        self._ended.set()

    def watch(self) -> None:
        if self._ended.wait(AFTER_SECONDS):
            return
        artifact = create_progress_artifact(progress=self._percent, key=f"progress-{self._step.replace('_', '-')}", description=self._help)
        assert isinstance(artifact, UUID)
        self._said, last = self._percent, time.monotonic()
        while not self._ended.wait(EVERY_SECONDS):
            if self._percent != self._said and time.monotonic() - last >= EVERY_SECONDS:
                update_progress_artifact(artifact_id=artifact, progress=self._percent)
                self._said, last = self._percent, time.monotonic()
        if self._whole:
            update_progress_artifact(artifact_id=artifact, progress=100.0)
