"""The target distributions: what the model is trained towards."""

from prefect import State

from timbre.config import ReleaseConfig
from timbre.tasks.data import run_data_stage
from timbre.tasks.stage import Built, stage_task


@stage_task("target")
def build_target(config: ReleaseConfig, corpus: Built, model: Built) -> State[Built]:
    """The cross-fitted target of the style, from the data registry."""
    return run_data_stage("target", config, corpus, model)
