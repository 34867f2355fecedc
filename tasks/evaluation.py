"""Scores of the base model (once, then cached by digest) and of the candidate, by the same code."""

from prefect import State

from tasks.stage import Built, run_stage, stage_task
from timbre.config import ReleaseConfig


@stage_task("base_evaluation")
def evaluate_base(config: ReleaseConfig, model: Built, corpus: Built) -> State[Built]:
    """How the untuned model writes, and what it believes."""
    return run_stage("base_evaluation", config, model, corpus)


@stage_task("evaluation")
def evaluate(config: ReleaseConfig, model: Built, corpus: Built, adapter: Built) -> State[Built]:
    """The same of the candidate."""
    return run_stage("evaluation", config, model, corpus, adapter)
