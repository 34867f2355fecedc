"""What every stage task does: show a stage that stands as `Cached`, else run `timbre stage VERB` as a process group.

A stage runs in a process of its own, so that a crash, a lack of memory or a kill is the state of a task and not the
death of a worker; a cancelled flow takes the whole group with it.
"""

import functools
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.states import Completed

from timbre import pipeline
from timbre.artifacts import Artifact, IntegrityError
from timbre.config import Frozen, ReleaseConfig
from timbre.settings import settings
from timbre.tasks.context import open_store
from timbre.tasks.deployments import GPU_SLOT
from timbre.tasks.forks import current
from timbre.tasks.showing import shown
from timbre.tasks.stores.dvc_commands import DvcError
from timbre.tasks.stores.processes import run_forked, run_group
from timbre.tasks.trying import DELAYS, KILLED_DELAY, STEP_HOURS, OutOfTime, may_pass

_TIMBRE = [sys.executable, "-m", "timbre.cli"]
_DVC_SAYS = re.compile(r"exited with (-?\d+)")


class Killed(RuntimeError):
    """A signal ended the process of a stage: a lack of memory, a crash in native code, somebody's `kill`."""


class Built(Frozen):
    """A reference to a stage's artifact: small enough to pass between tasks."""

    step: str
    digest: str
    cached: bool
    seconds: float

    def open(self) -> Artifact:
        return open_store().open(pipeline.STEP[self.step].stage.name, self.digest)


def find(step: str, config: ReleaseConfig, upstream: tuple[Built, ...], *, crashed: bool = False) -> Artifact | None:
    """The step's artifact if it stands already, judged by its key; also what it left when it `crashed`, if that is asked for."""
    store, item = open_store(), pipeline.STEP[step]
    inputs = pipeline.inputs_of(item, config, {built.step: built.open() for built in upstream})
    return store.find(item.stage.name, item.stage.key(pipeline.config_of(item, config), inputs), crashed=crashed)


def stage_task(step: str) -> Callable[[Callable[..., State[Built]]], Callable[..., Built]]:
    """Make a function that returns a state into a Prefect task whose call gives the `Built`, or raises what it raised.

    What a signal ended (a lack of memory, a kill) is tried once more, since every stage goes on where it stopped; a remote
    that did not answer several times, after ever longer waits. A refusal of the input is not, and a bug neither.
    """

    def decorate(function: Callable[..., State[Built]]) -> Callable[..., Built]:
        inner = task(  # type: ignore[call-overload]
            function,
            name=step,
            task_run_name=f"{step}-{{config.style}}",
            cache_policy=NO_CACHE,
            retries=1 + len(DELAYS),
            retry_delay_seconds=[KILLED_DELAY, *DELAYS],
            retry_condition_fn=lambda _task, run, state: _again(run.run_count, state.result(raise_on_failure=False)),
        )

        @functools.wraps(function)
        def call(*arguments: object, **options: object) -> Built:
            built = inner(*arguments, **options, return_state=True).result()
            assert isinstance(built, Built)
            return built

        return call

    return decorate


def _again(tries: int, error: object) -> bool:
    return may_pass(error) or (tries <= 1 and _was_killed(error))


def run_stage(
    step: str, config: ReleaseConfig, *upstream: Built, build: Callable[[], Artifact] | None = None, bar: bool = True
) -> State[Built]:
    """The step as a finished Prefect state, `Cached` or `Completed`.

    Args:
        upstream: the steps it reads; they are named again here so that Prefect draws the arrows.
        build: how to build it, if not as `timbre stage VERB` in a process group.
        bar: whether a long step draws how far it is, unless the caller does.
    """
    started = time.monotonic()
    if (found := find(step, config, upstream)) is not None:
        return Completed(name="Cached", message=found.digest[:12], data=_built(step, found, started, cached=True))
    with _device_slot(), shown(step, pipeline.STEP[step].help) if bar else nullcontext():
        artifact = build() if build is not None else _in_process_group(step, config, upstream)
    get_run_logger().info("%s %s", step, artifact.digest[:12])
    return Completed(message=artifact.digest[:12], data=_built(step, artifact, started, cached=False))


@contextmanager
def _device_slot() -> Iterator[None]:
    """One step at a time on a device that several runs of a server share; `timbre deploy` makes the limit."""
    shared = os.environ.get("PREFECT_API_URL") and (settings().device == "cuda" or Path("/dev/nvidiactl").exists())
    if not shared or settings().device == "cpu":
        yield
        return
    with concurrency(GPU_SLOT, occupy=1, strict=True):
        yield


def run_command(command: list[str], *, accepted: tuple[int, ...] = (0,), timeout: float | None = None) -> None:
    """Run a command as its own process group; when we are interrupted, or it takes more than `timeout` seconds, all of it ends.

    Raises:
        ValueError, IntegrityError: the command ended with Timbre's exit code for that kind; the text is its last line.
        Killed: a signal ended it.
        OutOfTime: it took too long.
        RuntimeError: it ended with any other code.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    forks, begun = current() if command[: len(_TIMBRE)] == _TIMBRE else None, time.monotonic()
    try:
        finished = run_forked(forks, command[len(_TIMBRE) :], cwd=Path.cwd(), environment=environment, timeout=timeout) if forks else None
        if finished is None:
            left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
            finished = run_group(command, cwd=Path.cwd(), environment=environment, output=False, timeout=left)
    except OutOfTime as error:
        raise OutOfTime(f"{error}; a step that hangs is not tried again: see what it waits for, then start the run again") from error
    code, text = finished.code, "\n".join(finished.lines).strip()
    if code in accepted:
        return
    said = [line.removeprefix("timbre: ") for line in text.splitlines() if line.startswith("timbre: ")]
    last = said[-1] if said else text.splitlines()[-1] if text else f"{command[0]} ended with {code}"
    match code:
        case 2:
            raise ValueError(last)
        case 6:
            raise IntegrityError(last)
        case _ if (ending := _signal_of(code)) is not None:
            raise Killed(f"{' '.join(command[1:])} was ended by {ending.name}; run the same command again to go on")
        case _:
            raise RuntimeError(f"{' '.join(command[1:])} ended with exit code {code}:\n{text}")


def _signal_of(code: int) -> signal.Signals | None:
    """The signal behind an exit code, the system's (−9) or a shell's (137); 130 is how `timbre` leaves when interrupted."""
    number = -code if code < 0 else code - 128
    return next((ending for ending in signal.Signals if ending == number), None)


def _was_killed(error: object) -> bool:
    """Whether a signal ended the stage, which DVC passes on in words only."""
    codes = _DVC_SAYS.findall(str(error)) if isinstance(error, DvcError) else []
    return isinstance(error, Killed) or any(_signal_of(int(code)) is not None for code in codes[-1:])


def _in_process_group(step: str, config: ReleaseConfig, upstream: tuple[Built, ...]) -> Artifact:
    item = pipeline.STEP[step]
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="release-") as request:
        request.write(config.model_dump_json())
        request.flush()
        accepted = (0, 3, 4) if step == "verdict" else (0,)  # FAIL and INCONCLUSIVE are answers
        command = [*_TIMBRE, "stage", item.verb, "--config", request.name]
        run_command(command, accepted=accepted, timeout=3600 * STEP_HOURS[config.profile])
    artifact = find(step, config, upstream, crashed=True)
    assert artifact is not None, f"`timbre stage {item.verb}` ended well but left no artifact"
    return artifact


def _built(step: str, artifact: Artifact, started: float, *, cached: bool) -> Built:
    return Built(step=step, digest=artifact.digest, cached=cached, seconds=round(time.monotonic() - started, 2))
