"""The road: the steps of a release in order, what each is built from, and how to find or build any of them.

This is the roof of the library: it looks into every room's `STAGE`, and nothing inside `timbre` looks at it. Importing
it, and finding what is already built, loads neither torch nor Great Expectations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage
from timbre.config import ReleaseConfig
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

    @property
    def stage(self) -> Stage[Any]:
        stage: Stage[Any] = import_module(self.module).STAGE
        return stage


_SAME = {name: name for name in ("model", "corpus", "target", "prompts", "adapter", "decoder", "bundle")}


def _needs(*names: str, **others: str) -> dict[str, str]:
    return {name: _SAME[name] for name in names} | others


_WRITE, _MEASURE = "timbre.evaluation.generations_stage", "timbre.evaluation.stage"
STEPS: tuple[Step, ...] = (
    Step("model", "model", "timbre.models", "model"),
    Step("corpus", "corpus", "timbre.corpus.stage", "corpus"),
    Step("target", "target", "timbre.targets.stage", "target", _needs("corpus", "model")),
    Step("adapter", "train", "timbre.training.stage", "training", _needs("target", "corpus", "model")),
    Step("prompts", "prompts", "timbre.evaluation.prompts_stage", "evaluation", _needs("model", "corpus")),
    Step("base_generations", "write-base", _WRITE, "evaluation", _needs("model", "corpus", "prompts")),
    Step("base_recitations", "recite-base", _WRITE, "evaluation", _needs("model", "corpus", "target")),
    Step(
        "base_evaluation",
        "evaluate-base",
        _MEASURE,
        "evaluation",
        _needs("model", "corpus", "target", "prompts", generations="base_generations", recitations="base_recitations"),
    ),
    Step("generations", "write", _WRITE, "evaluation", _needs("model", "corpus", "target", "prompts", "adapter")),
    Step(
        "evaluation",
        "evaluate",
        _MEASURE,
        "evaluation",
        _needs("model", "corpus", "target", "prompts", "adapter", generations="generations"),
    ),
    Step("decoder", "trace", "timbre.export.trace", "model", _needs("model")),
    Step("bundle", "export", "timbre.export.stage", "export", _needs("model", "adapter", "corpus", "decoder")),
    Step(
        "verdict",
        "gate",
        "timbre.gates.stage",
        "gate",
        _needs("bundle", "adapter", "target", "corpus", candidate="evaluation", base="base_evaluation"),
    ),
)
STEP = {step.name: step for step in STEPS}


def inputs_of(step: Step, config: ReleaseConfig, built: Mapping[str, Artifact]) -> dict[str, Input]:
    """Everything `step` reads: artifacts of earlier steps, and files under version control.

    Raises:
        ValueError: an earlier step is not built; the sentence says how to build it.
    """
    for needed in step.needs.values():
        if needed not in built:
            how = "timbre run" if needed in ("corpus", "target") else f"timbre stage {STEP[needed].verb}"  # those two go through DVC
            raise ValueError(f"{step.verb} needs the {needed} first: `{how} --style {config.style}` builds it")
    inputs: dict[str, Input] = {name: built[needed] for name, needed in step.needs.items()}
    return inputs | _files(step, config)


def config_of(step: Step, config: ReleaseConfig) -> BaseModel:
    """The part of the configuration that `step` is built with."""
    match step.name:
        case "model":
            from timbre.models import canonical

            return canonical(config.model)
        case "prompts":
            return config.evaluation.of_prompts()
        case "generations" | "base_generations" | "base_recitations":
            return config.evaluation.of_generations()
    section: BaseModel = getattr(config, step.section)
    return section


def find(config: ReleaseConfig, store: ArtifactStore) -> dict[str, Artifact]:
    """The steps of this release that stand in the store already, by name."""
    built: dict[str, Artifact] = {}
    for step in STEPS:
        if all(needed in built for needed in step.needs.values()):
            key = step.stage.key(config_of(step, config), inputs_of(step, config, built))
            if (artifact := store.find(step.stage.name, key)) is not None:
                built[step.name] = artifact
    return built


def build(name: str, config: ReleaseConfig, store: ArtifactStore, built: Mapping[str, Artifact]) -> Artifact:
    """Build (or find) one step from what is built before it.

    Raises:
        ValueError: an earlier step is missing, or the stage refuses its input.
        IntegrityError: something it reads is damaged.
    """
    step = STEP[name]
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
        case "adapter":
            files = {"replay": root / "data/replay/replay.jsonl"}
        case "prompts":
            files = {"instructions": instructions_path(config.style), **_asked_files(config)}
        case "generations" | "base_generations" | "evaluation" | "base_evaluation":
            files = probes
        case "verdict":
            files = {"policy": policy_path(config.gate.policy)}
        case _:
            files = {}
    return {name: FileInput(path) for name, path in files.items()}


def _asked_files(config: ReleaseConfig) -> dict[str, Path]:
    """Files of the prompt sets that are asked for; a set that is left out has no part in the key."""
    folder, evaluation = settings().root / "data" / "prompts" / "factuality", config.evaluation
    files = {}
    if evaluation.closed_book_questions:
        files["questions"] = folder / "closed_book.jsonl"
    if evaluation.copying_passages:
        files["passages"] = folder / "passages.jsonl"
    return files


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
