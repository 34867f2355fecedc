"""What each step is built with, where that is not simply its section of the configuration.

All functions take a release and give the frozen configuration that stands in the key: settled, so that a key says what was
done and not what was asked for in other words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from timbre.config import EvaluationConfig, ReleaseConfig


def of_model(config: ReleaseConfig) -> BaseModel:
    """The base model under one name, however it was spelt."""
    from timbre.models import canonical

    return canonical(config.model)


def of_target(config: ReleaseConfig) -> BaseModel:
    """The target of tokens, which is the same at either level."""
    return config.target.of_tokens()


def of_completions(config: ReleaseConfig) -> BaseModel:
    """What of a sequence-level target decides the completions themselves."""
    return config.target.sequence.of_completions()


def of_sequence(config: ReleaseConfig) -> BaseModel:
    """How completions are weighed, and what a student does with them."""
    return config.target.sequence


def of_control(config: ReleaseConfig) -> BaseModel:
    """The same with uniform weights."""
    return config.target.sequence.model_copy(update={"uniform": True})


def of_baseline(config: ReleaseConfig) -> BaseModel:
    """The candidate's training with the baseline's objective."""
    return config.training.model_copy(update={"objective": config.baseline.objective})


def of_prompts(config: ReleaseConfig) -> BaseModel:
    """The part of the evaluation that says what is asked."""
    return config.evaluation.of_prompts()


def of_generations(config: ReleaseConfig) -> BaseModel:
    """The part of the evaluation that a model is run for."""
    return _measured(config).of_generations()


def _measured(config: ReleaseConfig) -> EvaluationConfig:
    """The evaluation, with marked texts where those of the server are marked unasked."""
    from timbre.serving.policy import project_policy

    asked = config.evaluation
    return asked if project_policy().watermark == "request" else asked.model_copy(update={"watermark": True})


def of_evaluation(config: ReleaseConfig) -> EvaluationConfig:
    """With yes or no for the sentence encoder, and readers by name."""
    from timbre.evaluation.readers import canonical_readers

    evaluation = canonical_readers(_measured(config))
    if evaluation.encoder is not None:
        return evaluation
    from timbre.inference.embeddings import encoder_is_here

    return evaluation.model_copy(update={"encoder": encoder_is_here()})


def of_misuse(config: ReleaseConfig) -> BaseModel:
    """Asked as it is served: with the sampler of the evaluation."""
    return config.misuse.model_copy(update={"sampler": config.evaluation.sampler})


def of_calibration(config: ReleaseConfig) -> BaseModel:
    """What of the evaluation the style score's calibration depends on."""
    from timbre.evaluation.calibration_stage import calibration_of

    return calibration_of(of_evaluation(config))


def of_bundle(config: ReleaseConfig) -> BaseModel:
    """Served as judged: with the sampler of the evaluation."""
    return config.export.model_copy(update={"sampler": config.evaluation.sampler})
