"""What each step takes: seconds from tokens and measured rates of the default base on two CPU cores.

All functions take a release and give a `Cost`; the plan scales it by the size of the model and by how this machine did before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from timbre.config import EvaluationConfig, ReleaseConfig, TargetConfig


class Rates(NamedTuple):
    """Of the default base on two cores."""

    train: float
    """Tokens a second of LoRA training."""
    score: float
    """Tokens a second of scoring."""
    step: float
    """Seconds that the next token of a batch takes, whatever its size, and"""
    text: float
    """for each text in it."""


RATES = {"float32": Rates(180.0, 430.0, 0.105, 0.0036), "bfloat16": Rates(370.0, 700.0, 0.082, 0.0026)}
"""By the numbers of the products, on a CPU that has units for both."""
MEASURED = 1500.0
"""Generated tokens whose style is measured a second."""


class Cost(NamedTuple):
    """An estimate."""

    seconds: float
    what: str
    """What there is to do, in a few words."""
    scales: bool = True
    """Whether a larger model takes longer."""


def of_model(config: ReleaseConfig) -> Cost:
    """Fetching and converting."""
    return Cost(35, config.model.name)


def of_corpus(config: ReleaseConfig) -> Cost:
    """Cleaning, splitting, the contract."""
    return Cost(26, config.style, scales=False)


def of_target(config: ReleaseConfig) -> Cost:
    """Training the references, and scoring with them as often as shaping asks."""
    target, folds = config.target, config.corpus.folds
    reference = target.train_tokens * (folds - 1) * target.reference_epochs
    scored = _passes(target) * (target.train_tokens + folds * target.admission_tokens) + target.admission_tokens
    scored += folds * target.admission_tokens * len(target.blend or (None,)) if target.fit else 0
    return Cost(10 + reference / _rates().train + scored / _rates().score, f"{target.train_tokens:,} tokens, {folds} folds")


def of_completions(config: ReleaseConfig) -> Cost:
    """Drawing the completions, and scoring the human text beside them."""
    sequence = config.target.sequence
    texts, length = sequence.prompts * sequence.completions, sequence.prompt_tokens + sequence.new_tokens
    at_once = max(1.0, min(texts, sequence.batch_tokens // length))
    drawn = texts * sequence.new_tokens * (_rates().step / at_once + _rates().text)
    return Cost(15 + drawn + sequence.prompts * length / _rates().score, f"{texts} completions")


def of_sequence(config: ReleaseConfig) -> Cost:
    """Features, weights, and the classifiers of the admission."""
    return Cost(10 + 0.25 * config.target.sequence.prompts, f"{config.target.sequence.prompts} prompts", scales=False)


def of_control(_: ReleaseConfig) -> Cost:
    """Writing uniform weights."""
    return Cost(5, "uniform weights", scales=False)


def of_candidate(config: ReleaseConfig) -> Cost:
    """The candidate's adapter: trained from the start, or on from the token-level one."""
    return of_training(config) if config.target.level == "token" else _went_on(config, config.training.objective)


def of_training(config: ReleaseConfig) -> Cost:
    """An adapter trained from the start."""
    return _trained(config, config.training.objective)


def of_baseline(config: ReleaseConfig) -> Cost:
    """The baseline's adapter, or the control arm's."""
    objective = str(config.baseline.objective)
    return _trained(config, objective) if config.target.level == "token" else _went_on(config, objective)


def of_prompts(config: ReleaseConfig) -> Cost:
    """Freezing the prompts."""
    return Cost(6, f"{config.evaluation.prompts} openings", scales=False)


def of_calibration(config: ReleaseConfig) -> Cost:
    """The base's texts for the style score."""
    from timbre.evaluation.calibration_stage import calibration_of

    calibration = calibration_of(config.evaluation)
    texts = 5 * calibration.prompts
    return Cost(20 + 1.25 * _drawn(config.evaluation, texts, calibration.batch_tokens), f"{texts} texts")


def of_base_generations(config: ReleaseConfig) -> Cost:
    """Texts, held-out likelihood and probes of the base."""
    return Cost(_written(config), f"{_texts(config.evaluation)} texts")


def of_memorisation(config: ReleaseConfig) -> Cost:
    """Texts of the base after openings of trained passages."""
    return Cost(3 + _memorisation_seconds(config), f"{_memorisation_texts(config.evaluation)} texts")


def of_candidate_generations(config: ReleaseConfig) -> Cost:
    """Both, of a tuned model."""
    texts = _texts(config.evaluation) + _memorisation_texts(config.evaluation)
    return Cost(_written(config) + _memorisation_seconds(config), f"{texts} texts")


def of_evaluation(config: ReleaseConfig) -> Cost:
    """Measuring the texts, and reading them with another model."""
    evaluation = config.evaluation
    read = 5 + 2 * evaluation.coherence_texts * _length(evaluation) / _rates().score if evaluation.coherence_texts else 0
    seconds = 3 + evaluation.prompts * evaluation.new_tokens / MEASURED + read
    return Cost(seconds, f"{_texts(evaluation)} texts", scales=False)


def of_base_misuse(config: ReleaseConfig) -> Cost:
    """The base's answers to requests and their twins."""
    return Cost(10 + _answered(config, 2), f"{2 * config.misuse.requests * config.misuse.samples} answers")


def of_misuse(config: ReleaseConfig) -> Cost:
    """The same of a tuned model, and the requests again at each diversity, for which two models read every token."""
    again = len(config.misuse.diversity)
    return Cost(15 + _answered(config, 2 + 2 * again), f"{(2 + again) * config.misuse.requests * config.misuse.samples} answers")


def of_decoder(config: ReleaseConfig) -> Cost:
    """Tracing the graph."""
    return Cost(45, config.model.name, scales=False)


def of_bundle(config: ReleaseConfig) -> Cost:
    """Merging, writing, comparing with torch."""
    export = config.export
    return Cost(20 + export.parity_prompts * export.parity_tokens / 24, f"ONNX, {export.parity_prompts} prompts")


def of_verdict(config: ReleaseConfig) -> Cost:
    """The gates and the report."""
    return Cost(5, f"policy {config.gate.policy}", scales=False)


def _went_on(config: ReleaseConfig, objective: str) -> Cost:
    sequence, target, training = config.target.sequence, config.target, config.training
    steps = max(1.0, target.train_tokens / training.batch_tokens)
    read = target.train_tokens + steps * sequence.completions_a_step * (sequence.prompt_tokens + sequence.new_tokens)
    looks = sequence.epochs * steps / training.evaluate_every + 2
    seconds = 15 + sequence.epochs * read / _rates().train + looks * training.validation_tokens / _rates().score
    return Cost(seconds, f"{objective} and completions, {sequence.epochs} epochs")


def _trained(config: ReleaseConfig, objective: str) -> Cost:
    target, training = config.target, config.training
    looks = training.epochs * target.train_tokens / training.batch_tokens / training.evaluate_every + 1
    seconds = 15 + training.epochs * target.train_tokens / _rates().train * 1.3 + looks * training.validation_tokens / _rates().score
    return Cost(seconds, f"{objective}, {training.epochs} epochs")


def _length(evaluation: EvaluationConfig) -> int:
    return evaluation.new_tokens + evaluation.prompt_tokens


def _written(config: ReleaseConfig) -> float:
    evaluation = config.evaluation
    probes = 8 * 2 * ((evaluation.bias_items or 350) + (evaluation.fact_items or 350))
    texts = _texts(evaluation) + _answers(evaluation) / evaluation.new_tokens
    return 5 + (evaluation.likelihood_tokens + probes) / _rates().score + _drawn(evaluation, texts)


def _memorisation_seconds(config: ReleaseConfig) -> float:
    return _drawn(config.evaluation, _memorisation_texts(config.evaluation))


def _answered(config: ReleaseConfig, times: int) -> float:
    misuse = config.misuse
    texts = misuse.requests * misuse.samples
    at_once = max(1.0, min(texts, misuse.batch_tokens // (misuse.new_tokens + 40)))
    return times * texts * misuse.new_tokens * (_rates().step / at_once + _rates().text)


def _drawn(evaluation: EvaluationConfig, texts: float, batch_tokens: int | None = None) -> float:
    """Seconds to write texts of the usual length, in batches."""
    at_once = max(1.0, min(texts, (batch_tokens or evaluation.batch_tokens) // _length(evaluation)))
    return texts * evaluation.new_tokens * (_rates().step / at_once + _rates().text)


def _rates() -> Rates:
    from timbre.precision import precision

    return RATES[precision().products]


def _memorisation_texts(evaluation: EvaluationConfig) -> int:
    return evaluation.memorisation_prompts + evaluation.extraction_prompts * evaluation.extraction_samples


def _texts(evaluation: EvaluationConfig) -> int:
    """How many texts a model writes for the prompts of the corpus; shorter ones count by their length."""
    from timbre.config import SamplerConfig

    plain = evaluation.prompts if evaluation.plain and evaluation.sampler != SamplerConfig() else 0
    several = min(evaluation.several_prompts, evaluation.prompts) * evaluation.several_samples
    swapped = 2 * evaluation.counterfactual_templates * evaluation.counterfactual_samples
    swapped = -(-swapped * evaluation.counterfactual_tokens // evaluation.new_tokens)
    return evaluation.prompts + plain + several + evaluation.sentinel_prompts + evaluation.instruction_prompts + swapped


def _answers(evaluation: EvaluationConfig) -> int:
    """Tokens of closed-book answers, asked in two ways, and of what is written about passages."""
    closed = 2 * evaluation.closed_book_questions * evaluation.closed_book_samples * 40
    return closed + evaluation.copying_passages * evaluation.copying_samples * 3 * 180


def _passes(target: TargetConfig) -> int:
    """How often the reference reads a passage: once a style, then what shaping wants, all twice for a swap."""
    prefixed = len(target.principles)
    native = 1 if target.strength < 1 or prefixed else 0
    return (max(1, len(target.blend)) + native + prefixed) * (2 if target.debias else 1)
