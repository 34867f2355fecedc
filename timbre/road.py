"""The road: the steps of a release in order, what each is built from, and how to find or build any of them.

This is the roof of the library: it looks into every room's `STAGE`, and nothing inside `timbre` looks at it. Importing
it, and finding what is already built, loads neither torch nor Great Expectations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage
from timbre.config import EvaluationConfig, ReleaseConfig
from timbre.settings import settings


@dataclass(frozen=True)
class Step:
    """One step: its stage, its section of the configuration, and which earlier steps and project files it reads."""

    name: str
    verb: str
    """What `timbre stage` calls it."""
    module: str
    section: str
    needs: Mapping[str, str] = field(default_factory=dict)
    """Input name -> name of the step that builds it."""
    when: Callable[[ReleaseConfig], bool] = lambda _: True
    """Whether a release has this step; those that read it read it only then."""

    @property
    def stage(self) -> Stage[Any]:
        stage: Stage[Any] = import_module(self.module).STAGE
        return stage


_SAME = {name: name for name in ("model", "corpus", "target", "prompts", "adapter", "decoder", "bundle", "calibration")}
_TRAIN, _WRITE, _MEASURE = "timbre.training.stage", "timbre.evaluation.generations_stage", "timbre.evaluation.stage"


def _needs(*names: str, **others: str) -> dict[str, str]:
    return {name: _SAME[name] for name in names} | others


def _student(prefix: str, verbs: tuple[str, str, str], section: str, when: Callable[[ReleaseConfig], bool]) -> tuple[Step, ...]:
    """Training, writing and measuring of the candidate, or of the baseline beside it."""
    adapter, generations = f"{prefix}adapter", f"{prefix}generations"
    read = _needs("model", "corpus", "target", "prompts", adapter=adapter)
    measured = read | _needs("calibration", generations=generations)
    return (
        Step(adapter, verbs[0], _TRAIN, section, _needs("target", "corpus", "model"), when),
        Step(generations, verbs[1], _WRITE, "evaluation", read, when),
        Step(f"{prefix}evaluation", verbs[2], _MEASURE, "evaluation", measured, when),
    )


_BASE = _needs("model", "corpus", "target", "prompts", "calibration", generations="base_generations", recitations="base_recitations")
_JUDGED = _needs(
    "bundle", "adapter", "target", "corpus", candidate="evaluation", base="base_evaluation",
    baseline="baseline_evaluation", baseline_adapter="baseline_adapter",
)  # fmt: skip
STEPS: tuple[Step, ...] = (
    Step("model", "model", "timbre.models", "model"),
    Step("corpus", "corpus", "timbre.corpus.stage", "corpus"),
    Step("target", "target", "timbre.targets.stage", "target", _needs("corpus", "model")),
    Step("prompts", "prompts", "timbre.evaluation.prompts_stage", "evaluation", _needs("model", "corpus")),
    Step(
        "calibration", "calibrate", "timbre.evaluation.calibration_stage", "evaluation", _needs("model", "corpus"),
        lambda config: config.evaluation.score,
    ),
    Step("base_generations", "write-base", _WRITE, "evaluation", _needs("model", "corpus", "prompts")),
    Step("base_recitations", "recite-base", _WRITE, "evaluation", _needs("model", "corpus", "target")),
    Step("base_evaluation", "evaluate-base", _MEASURE, "evaluation", _BASE),
    *_student("", ("train", "write", "evaluate"), "training", lambda _: True),
    *_student(
        "baseline_", ("train-baseline", "write-baseline", "evaluate-baseline"), "training",
        lambda config: config.baseline.objective is not None,
    ),
    Step("decoder", "trace", "timbre.export.trace", "model", _needs("model")),
    Step("bundle", "export", "timbre.export.stage", "export", _needs("model", "adapter", "corpus", "decoder")),
    Step("verdict", "gate", "timbre.gates.stage", "gate", _JUDGED),
)  # fmt: skip
STEP = {step.name: step for step in STEPS}


def steps_of(config: ReleaseConfig) -> tuple[Step, ...]:
    """The steps of this release, in order."""
    return tuple(step for step in STEPS if step.when(config))


def needs_of(step: Step, config: ReleaseConfig) -> dict[str, str]:
    """What `step` reads of the steps that this release has: input name -> step."""
    return {name: needed for name, needed in step.needs.items() if STEP[needed].when(config)}


def inputs_of(step: Step, config: ReleaseConfig, built: Mapping[str, Artifact]) -> dict[str, Input]:
    """Everything `step` reads: artifacts of earlier steps, and files under version control.

    Raises:
        ValueError: an earlier step is not built; the sentence says how to build it.
    """
    needs = needs_of(step, config)
    for needed in needs.values():
        if needed not in built:
            raise ValueError(f"{step.verb} needs the {needed} first: `{command_of(needed)} --style {config.style}` builds it")
    inputs: dict[str, Input] = {name: built[needed] for name, needed in needs.items()}
    return inputs | _files(step, config)


def command_of(name: str) -> str:
    """What builds a step; corpus and target go through DVC, which the whole run does."""
    return "timbre run" if name in ("corpus", "target") else f"timbre stage {STEP[name].verb}"


def config_of(step: Step, config: ReleaseConfig) -> BaseModel:
    """The part of the configuration that `step` is built with."""
    section: BaseModel = getattr(config, step.section)
    match step.name:
        case "model":
            from timbre.models import canonical

            section = canonical(config.model)
        case "baseline_adapter":
            section = config.training.model_copy(update={"objective": config.baseline.objective})
        case "calibration":
            from timbre.evaluation.calibration_stage import calibration_of

            section = calibration_of(_settled(config.evaluation))
        case "bundle":
            section = config.export.model_copy(update={"sampler": config.evaluation.sampler})
        case "prompts":
            section = config.evaluation.of_prompts()
        case "generations" | "base_generations" | "base_recitations" | "baseline_generations":
            section = config.evaluation.of_generations()
        case "evaluation" | "base_evaluation" | "baseline_evaluation":
            section = _settled(config.evaluation)
    return section


def _settled(evaluation: EvaluationConfig) -> EvaluationConfig:
    """With yes or no for the sentence encoder, and readers by name, so that what a key says is what was measured."""
    from timbre.evaluation.readers import canonical_readers

    evaluation = canonical_readers(evaluation)
    if evaluation.encoder is not None:
        return evaluation
    from timbre.inference.embeddings import encoder_is_here

    return evaluation.model_copy(update={"encoder": encoder_is_here()})


def find(config: ReleaseConfig, store: ArtifactStore, *, crashed: bool = False) -> dict[str, Artifact]:
    """The steps of this release that stand in the store already, by name.

    Args:
        crashed: with what steps left that crashed at their last try, and what follows from it.
    """
    built: dict[str, Artifact] = {}
    for step in steps_of(config):
        if all(needed in built for needed in needs_of(step, config).values()):
            key = step.stage.key(config_of(step, config), inputs_of(step, config, built))
            if (artifact := store.find(step.stage.name, key, crashed=crashed)) is not None:
                built[step.name] = artifact
    return built


def build(name: str, config: ReleaseConfig, store: ArtifactStore, built: Mapping[str, Artifact]) -> Artifact:
    """Build (or find) one step from what is built before it.

    Raises:
        ValueError: an earlier step is missing, this release has no such step, or the stage refuses its input.
        IntegrityError: something it reads is damaged.
    """
    step = STEP[name]
    if not step.when(config):
        raise ValueError(f"this release has no {name}: set baseline.objective or evaluation.score to have one")
    return store.build(step.stage, config_of(step, config), inputs_of(step, config, built))


def _files(step: Step, config: ReleaseConfig) -> dict[str, Input]:
    root: Path = settings().root
    probes = {"bias_probes": root / "data/probes/bias.jsonl", "fact_probes": root / "data/probes/facts.jsonl"}
    match step.name:
        case "model":
            from timbre.models import model_inputs

            return dict(model_inputs(config.model))
        case "corpus":
            from timbre.corpus.stage import corpus_inputs

            return dict(corpus_inputs(config.corpus))
        case "target":
            from timbre.targets.stage import target_inputs

            return target_inputs(config.target)
        case "adapter" | "baseline_adapter":
            files = {"replay": root / "data/replay/replay.jsonl"}
        case "prompts":
            return _asked_files(config) | _voices(config)
        case "evaluation" | "base_evaluation" | "baseline_evaluation":
            from timbre.evaluation.readers import evaluation_inputs

            readers = evaluation_inputs(config.evaluation, root / "data" / "lexicons")
            return {name: FileInput(path) for name, path in probes.items()} | readers
        case "base_generations" | "generations" | "baseline_generations":
            files = probes
        case "verdict":
            files = {"policy": policy_path(config.gate.policy)}
        case _:
            files = {}
    return {name: FileInput(path) for name, path in files.items()}


def _asked_files(config: ReleaseConfig) -> dict[str, Input]:
    """Files of the prompt sets that are asked for; a set that is left out has no part in the key."""
    folder, evaluation = settings().root / "data" / "prompts", config.evaluation
    files: dict[str, Input] = {}
    if evaluation.instruction_prompts:
        files["instructions"] = FileInput(instructions_path(config.style))
    if evaluation.counterfactual_templates:
        files["counterfactual"] = FileInput(folder / "bias" / "counterfactual.jsonl")
    if evaluation.closed_book_questions:
        files["questions"] = FileInput(folder / "factuality" / "closed_book.jsonl")
    if evaluation.copying_passages:
        files["passages"] = FileInput(folder / "factuality" / "passages.jsonl")
    return files


def _voices(config: ReleaseConfig) -> dict[str, Input]:
    """The corpora of the styles that voice is told apart from, as they stand here."""
    from timbre.corpus.stage import STAGE, corpus_inputs

    found: dict[str, Input] = {}
    for style in config.evaluation.voice_against:
        corpus = ReleaseConfig(style=style).corpus
        artifact = ArtifactStore(settings().home).find(STAGE.name, STAGE.key(corpus, corpus_inputs(corpus)))
        if style == config.style or artifact is None:
            why = "is this style" if style == config.style else f"has no corpus here: `timbre run --style {style}` builds one"
            raise ValueError(f"evaluation.voice_against names {style}, which {why}; or leave it out")
        found[f"voice_{style}"] = artifact
    return found


def instructions_path(style: str) -> Path:
    """The file of short tasks of a style; one for any style where it has none of its own."""
    folder = settings().root / "data" / "prompts"
    own = folder / f"{style}.jsonl"
    return own if own.is_file() else folder / "any-style.jsonl"


def policy_path(name: str) -> Path:
    """The file of a gate policy.

    Raises:
        ValueError: there is none of that name; the sentence lists those that exist.
    """
    folder = settings().root / "mlflow" / "policies"
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in folder.glob("*.toml")))
        raise ValueError(f"unknown policy {name!r}: choose one of {known}, or write {path.relative_to(settings().root)}")
    return path
