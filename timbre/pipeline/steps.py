"""The steps of a release, in order: the one table that everything else follows.

The Prefect flow and its tasks, `timbre stage VERB` with its help, `timbre run --dry-run` and the data stages of `dvc.yaml` are
made from this table, or tested against it. A new step is an entry here and a `STAGE` in the room that does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from timbre.pipeline import costs, inputs, sections

if TYPE_CHECKING:
    from pydantic import BaseModel

    from timbre.artifacts import Input, Stage
    from timbre.config import ReleaseConfig
    from timbre.pipeline.costs import Cost


def _no_files(_: ReleaseConfig) -> dict[str, Input]:
    return {}


@dataclass(frozen=True)
class Step:
    """One step."""

    name: str
    """Of its artifact in a release, and of its Prefect task."""
    verb: str
    """What `timbre stage` calls it."""
    help: str
    """One line, as the command and the plan show it."""
    module: str
    """The room that builds it, as `STAGE` in this module."""
    section: str
    """Its section of the configuration."""
    cost: Callable[[ReleaseConfig], Cost]
    """What it takes on two cores, for the plan."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Input name -> name of the step that builds it."""
    when: Callable[[ReleaseConfig], bool] = lambda _: True
    """Whether a release has this step; those that read it read it only then."""
    settings: Callable[[ReleaseConfig], BaseModel] | None = None
    """What it is built with, where that is not its whole section as it stands."""
    files: Callable[[ReleaseConfig], Mapping[str, Input]] = _no_files
    """What it reads besides earlier steps: files under version control, sources, other artifacts."""

    versioned: bool = False
    """Whether DVC owns the artifact: it is built in the data registry, by a stage of `dvc.yaml` of the same name."""
    kept: bool = False
    """Whether the artifact is laid in the data registry once it is built, and has a version there as those that DVC owns."""

    @property
    def stage(self) -> Stage[Any]:
        """The builder: a name, a version, a function. A base, a candidate and a baseline share one."""
        stage: Stage[Any] = import_module(self.module).STAGE
        return stage


_SAME = {
    name: name
    for name in (
        "model", "corpus", "target", "prompts", "adapter", "decoder", "bundle", "calibration", "completions", "misuse", "base_misuse",
    )
}  # fmt: skip
_TRAIN, _GENERATE, _MEASURE = "timbre.training.stage", "timbre.evaluation.generations_stage", "timbre.evaluation.stage"
_MISUSE = "timbre.evaluation.misuse_stage"


def _needs(*names: str, **others: str) -> dict[str, str]:
    return {name: _SAME[name] for name in names} | others


def _has_baseline(config: ReleaseConfig) -> bool:
    return config.baseline.objective is not None


def _is_sequence(config: ReleaseConfig) -> bool:
    return config.target.level == "sequence"


def _has_control(config: ReleaseConfig) -> bool:
    return _is_sequence(config) and _has_baseline(config)


def _asks(config: ReleaseConfig) -> bool:
    return config.misuse.requests > 0


def _student(prefix: str, who: str, when: Callable[[ReleaseConfig], bool]) -> tuple[Step, ...]:
    """Training, generations and evaluation of the candidate, or of the baseline beside it."""
    adapter, generations, suffix = f"{prefix}adapter", f"{prefix}generations", f"-{prefix[:-1]}" if prefix else ""
    read = _needs("model", "corpus", "target", "prompts", adapter=adapter)
    measured = read | _needs("calibration", generations=generations)
    taught = _needs("target", "corpus", "model", start="token_adapter", sequence="control" if prefix else "sequence")
    return (
        Step(
            adapter, f"train{suffix}", f"Train the {who}; a killed run goes on at its last checkpoint.", _TRAIN, "training",
            costs.of_baseline if prefix else costs.of_candidate, taught, when,
            sections.of_baseline if prefix else None, inputs.replay,
        ),
        Step(
            generations, f"generate{suffix}", f"Generate texts of the {who}, also from trained openings; score text and probes.",
            _GENERATE, "evaluation", costs.of_candidate_generations, read, when, sections.of_generations, inputs.probes,
        ),
        Step(
            f"{prefix}evaluation", f"evaluate{suffix}", f"Measure the texts of the {who}.", _MEASURE, "evaluation",
            costs.of_evaluation, measured, when, sections.of_evaluation, inputs.measuring,
        ),
    )  # fmt: skip


_BASE = _needs("model", "corpus", "target", "prompts", "calibration", generations="base_generations", memorisation="base_memorisation")
_JUDGED = _needs(
    "bundle", "adapter", "target", "corpus", "misuse", "base_misuse", candidate="evaluation", base="base_evaluation",
    baseline="baseline_evaluation", baseline_adapter="baseline_adapter",
)  # fmt: skip
STEPS: tuple[Step, ...] = (
    Step(
        "model", "model", "Fetch and convert the base model.", "timbre.models", "model",
        costs.of_model, settings=sections.of_model, files=inputs.model,
    ),
    Step(
        "decoder", "trace", "Trace the base model's ONNX graph, once for all its adapters.", "timbre.export.trace", "model",
        costs.of_decoder, _needs("model"), settings=sections.of_model,
    ),
    Step(
        "corpus", "corpus", "Clean, split and check the texts of a style.", "timbre.corpus.stage", "corpus",
        costs.of_corpus, files=inputs.corpus, versioned=True,
    ),
    Step(
        "target", "target", "Build the target distributions of a style.", "timbre.targets.stage", "target",
        costs.of_target, _needs("corpus", "model"), settings=sections.of_target, files=inputs.target, versioned=True,
    ),
    Step(
        "token_adapter", "train-tokens", "Train the token-level student that writes the completions.", _TRAIN, "training",
        costs.of_training, _needs("target", "corpus", "model"), _is_sequence, files=inputs.replay,
    ),
    Step(
        "completions", "complete", "The token-level student completes passages that it was not trained on.", "timbre.sequence.pool",
        "target", costs.of_completions, _needs("target", "corpus", "model", adapter="token_adapter"), _is_sequence, sections.of_completions,
    ),
    Step(
        "sequence", "sequence", "Weigh the completions, and decide whether that brings them nearer to human text.", "timbre.sequence.stage",
        "target", costs.of_sequence, _needs("completions"), _is_sequence, sections.of_sequence, kept=True,
    ),
    Step(
        "control", "control", "The same completions with uniform weights, for the baseline.", "timbre.sequence.stage", "target",
        costs.of_control, _needs("completions", judged="sequence"), _has_control, sections.of_control,
    ),
    Step(
        "prompts", "prompts", "Freeze the prompts of every model.", "timbre.evaluation.prompts_stage", "evaluation",
        costs.of_prompts, _needs("model", "corpus"), settings=sections.of_prompts, files=inputs.prompts,
    ),
    Step(
        "calibration", "calibrate", "Generate texts of the base that the style score is calibrated by.",
        "timbre.evaluation.calibration_stage", "evaluation", costs.of_calibration, _needs("model", "corpus"),
        lambda config: config.evaluation.score, sections.of_calibration,
    ),
    Step(
        "base_generations", "generate-base", "Generate texts of the base; score human text and probes.", _GENERATE, "evaluation",
        costs.of_base_generations, _needs("model", "corpus", "prompts"), settings=sections.of_generations, files=inputs.probes,
    ),
    Step(
        "base_memorisation", "memorisation-base", "Generate from openings of the training plan with the base.", _GENERATE, "evaluation",
        costs.of_memorisation, _needs("model", "corpus", "target"), settings=sections.of_generations, files=inputs.probes,
    ),
    Step(
        "base_evaluation", "evaluate-base", "Measure the texts of the untuned base.", _MEASURE, "evaluation",
        costs.of_evaluation, _BASE, settings=sections.of_evaluation, files=inputs.measuring,
    ),
    Step(
        "base_misuse", "misuse-base", "Ask the base what it should not go along with.", _MISUSE, "misuse", costs.of_base_misuse,
        _needs("model"), _asks, sections.of_misuse, inputs.misuse,
    ),
    *_student("", "candidate", lambda _: True),
    Step(
        "misuse", "misuse", "Ask the candidate what it should not go along with, at every diversity.", _MISUSE, "misuse",
        costs.of_misuse, _needs("model", "adapter"), _asks, sections.of_misuse, inputs.misuse,
    ),
    *_student("baseline_", "baseline", _has_baseline),
    Step(
        "bundle", "export", "Merge, write the ONNX bundle, and check parity.", "timbre.export.stage", "export",
        costs.of_bundle, _needs("model", "adapter", "corpus", "decoder"), settings=sections.of_bundle,
    ),
    Step(
        "verdict", "gate", "Judge the evidence under the policy.", "timbre.gates.stage", "gate",
        costs.of_verdict, _JUDGED, files=inputs.policy,
    ),
)  # fmt: skip
STEP = {step.name: step for step in STEPS}
