"""The corpus: sources in, clean documents with splits, folds and a contract out."""

from prefect import State

from timbre.config import ReleaseConfig
from timbre.tasks.data import run_data_stage
from timbre.tasks.stage import Built, stage_task


@stage_task("corpus")
def build_corpus(config: ReleaseConfig) -> State[Built]:
    """The corpus of the style, from the data registry."""
    return run_data_stage("corpus", config)
