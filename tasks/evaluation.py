"""What is asked, what base and candidate answer, and the measuring of both by the same code."""

from prefect import State

from timbre.config import ReleaseConfig
from timbre.tasks.stage import Built, run_stage, stage_task


@stage_task("prompts")
def ask(config: ReleaseConfig, model: Built, corpus: Built) -> State[Built]:
    """The frozen prompt sets of the corpus."""
    return run_stage("prompts", config, model, corpus)


@stage_task("base_generations")
def write_base(config: ReleaseConfig, model: Built, corpus: Built, prompts: Built) -> State[Built]:
    """What the untuned model writes and thinks: once, then cached whatever the target."""
    return run_stage("base_generations", config, model, corpus, prompts)


@stage_task("base_recitations")
def recite_base(config: ReleaseConfig, model: Built, corpus: Built, target: Built) -> State[Built]:
    """How the untuned model goes on from passages of this target."""
    return run_stage("base_recitations", config, model, corpus, target)


@stage_task("calibration")
def calibrate(config: ReleaseConfig, model: Built, corpus: Built) -> State[Built]:
    """Texts of the untuned base, and whether the Style Diversity Score can be believed on them."""
    return run_stage("calibration", config, model, corpus)


@stage_task("base_evaluation")
def evaluate_base(config: ReleaseConfig, read: tuple[Built, ...], base_generations: Built, base_recitations: Built) -> State[Built]:
    """How the untuned model writes, and what it believes.

    Args:
        read: model, corpus, target, prompts, and the calibration where there is one.
    """
    return run_stage("base_evaluation", config, *read, base_generations, base_recitations)


@stage_task("generations")
def write(config: ReleaseConfig, model: Built, corpus: Built, target: Built, prompts: Built, adapter: Built) -> State[Built]:
    """What the candidate writes, recites and thinks."""
    return run_stage("generations", config, model, corpus, target, prompts, adapter)


@stage_task("evaluation")
def evaluate(config: ReleaseConfig, read: tuple[Built, ...], adapter: Built, generations: Built) -> State[Built]:
    """The candidate measured as the base is."""
    return run_stage("evaluation", config, *read, adapter, generations)


@stage_task("baseline_generations")
def write_baseline(config: ReleaseConfig, model: Built, corpus: Built, target: Built, prompts: Built, adapter: Built) -> State[Built]:
    """What the baseline writes, recites and thinks."""
    return run_stage("baseline_generations", config, model, corpus, target, prompts, adapter)


@stage_task("baseline_evaluation")
def evaluate_baseline(config: ReleaseConfig, read: tuple[Built, ...], adapter: Built, generations: Built) -> State[Built]:
    """The baseline measured as the base is."""
    return run_stage("baseline_evaluation", config, *read, adapter, generations)
