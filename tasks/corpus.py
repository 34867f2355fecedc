"""The corpus: sources in, clean documents with splits, folds and a contract out."""

from prefect import State

from tasks.data import run_data_stage
from tasks.stage import Built, stage_task
from timbre.config import ReleaseConfig


@stage_task("corpus")
def build_corpus(config: ReleaseConfig) -> State[Built]:
    """The corpus of the style, from the data registry."""
    return run_data_stage("corpus", config)
