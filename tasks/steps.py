"""Every step of a release as a Prefect task, made from the one table of steps (`timbre.pipeline.steps`)."""

from collections.abc import Callable, Mapping

from prefect import State

from timbre.config import ReleaseConfig
from timbre.pipeline import STEPS, Step, needs_of
from timbre.tasks.data import run_data_stage, run_kept_stage
from timbre.tasks.gates import run_gates
from timbre.tasks.stage import Built, run_stage, stage_task
from timbre.tasks.training import run_training

Run = Callable[..., State[Built]]
"""(step name, release, steps that it reads) -> the finished state."""
_OWN: Mapping[str, Run] = {"adapter": run_training, "verdict": run_gates}
"""Steps that show more than that they are done: a growing curve, a table of gates."""


def _task(step: Step) -> Callable[..., Built]:
    run: Run = run_data_stage if step.versioned else run_kept_stage if step.kept else _OWN.get(step.name, run_stage)

    def build(config: ReleaseConfig, upstream: tuple[Built, ...]) -> State[Built]:
        return run(step.name, config, *upstream)

    build.__name__, build.__doc__ = step.name, step.help
    return stage_task(step.name)(build)


_TASKS = {step.name: _task(step) for step in STEPS}


def run_step(step: Step, config: ReleaseConfig, built: Mapping[str, Built]) -> Built:
    """Run a step's task on what it reads of the steps before it; Prefect draws the arrows from that.

    Raises:
        What the stage raised, and `Killed` if a signal ended it twice.
    """
    upstream = tuple(built[name] for name in dict.fromkeys(needs_of(step, config).values()))
    return _TASKS[step.name](config, upstream)
