"""The base model: fetched, converted and verified once."""

from prefect import State

from timbre.config import ReleaseConfig
from timbre.tasks.stage import Built, run_stage, stage_task


@stage_task("model")
def resolve_model(config: ReleaseConfig) -> State[Built]:
    """The base model as an artifact."""
    return run_stage("model", config)
