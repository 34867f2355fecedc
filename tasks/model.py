"""The base model: fetched, converted and verified once."""

from prefect import State

from tasks.stage import Built, run_stage, stage_task
from timbre.config import ReleaseConfig


@stage_task("model")
def resolve_model(config: ReleaseConfig) -> State[Built]:
    """The base model as an artifact."""
    return run_stage("model", config)
