"""The plan of a release: which steps stand, and what the others will take here.

Seconds come from tokens and measured rates of the default base on two CPU cores, scaled by the size of the model, and
then by how this machine did before with this model: the median of actual over estimated seconds in the manifests it holds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from timbre import road
from timbre.artifacts import MANIFEST, Artifact, ArtifactStore
from timbre.config import EvaluationConfig, ReleaseConfig, SamplerConfig, TargetConfig
from timbre.evaluation.calibration_stage import calibration_of
from timbre.gates.policy import read_policy
from timbre.settings import settings

_REFERENCE_PARAMETERS = 134_515_008
_TRAIN, _SCORE, _DRAW = 110.0, 330.0, 70.0
"""Tokens a second of the default base on two cores: LoRA training, scoring, drawing in batches."""
_MEASURED = 1500.0
"""Generated tokens whose style is measured a second."""
_BYTES_A_PARAMETER = 22
"""Peak resident bytes a parameter, seen while exporting in fp32."""
_BYTES_TRAINED, _ACTIVATIONS = 4, 0.012
"""Bytes a parameter while an adapter trains, and what a backward pass keeps a token and parameter: an estimate from the shapes."""

_MUCH_TEXT = 8 << 20
"""Bytes of a user's own texts from which they are enough for every profile but gpu, and counting them takes seconds."""
_TOKENS_A_WORD = 1.3


@dataclass(frozen=True)
class Item:
    """One step of the plan."""

    step: str
    cached: bool
    seconds: float
    what: str


@dataclass(frozen=True)
class Plan:
    """All steps, in order."""

    items: tuple[Item, ...]
    memory_gib: float
    warnings: tuple[str, ...] = ()
    """What will not be as the configuration suggests."""

    @property
    def seconds(self) -> float:
        return sum(item.seconds for item in self.items if not item.cached)

    def cost(self, price_an_hour: float) -> float:
        """What the planned seconds cost at this price."""
        return self.seconds / 3600 * price_an_hour

    def as_json(self, price: float | None) -> dict[str, Any]:
        steps = [{"step": item.step, "cached": item.cached, "seconds": round(item.seconds, 1), "what": item.what} for item in self.items]
        cost = {} if price is None else {"cost": self.cost(price)}
        return {
            "steps": steps,
            "seconds": round(self.seconds, 1),
            "memory_gib": round(self.memory_gib, 2),
            "warnings": [*self.warnings],
            **cost,
        }


def plan(config: ReleaseConfig, store: ArtifactStore) -> Plan:
    """What `timbre run` would do now.

    Raises:
        ValueError: an unknown style, source, policy or model.
    """
    built = road.find(config, store)
    parameters = int(built["model"].json("model.json")["parameters"]) if "model" in built else _REFERENCE_PARAMETERS
    size = parameters / _REFERENCE_PARAMETERS
    pace = _pace(store, built.get("model"), size)
    items = tuple(
        Item(step, step in built, seconds * (size if scales else 1) * pace.get(step, 1.0), what)
        for step, (seconds, what, scales) in _estimates(config).items()
        if road.STEP[step].when(config)
    )
    road.policy_path(config.gate.policy)
    return Plan(items, _memory_gib(config, parameters), tuple(_warnings(config, built)))


def _memory_gib(config: ReleaseConfig, parameters: int) -> float:
    """The export's copies of the weights, or the activations of the largest batch, whichever is more."""
    tokens = max(config.training.micro_tokens or config.training.batch_tokens, config.target.batch_tokens)
    exported = parameters * _BYTES_A_PARAMETER
    trained = parameters * _BYTES_TRAINED + tokens * parameters * _ACTIVATIONS
    return 1.5 + max(exported, trained) / 2**30


def _warnings(config: ReleaseConfig, built: Mapping[str, Artifact]) -> Iterator[str]:
    if config.profile == "gpu" and not _has_gpu():
        yield "no CUDA device is here: the profile gpu would run on the CPU, as the seconds above say; `--profile standard` is made for it"
    if "corpus" not in built:
        yield from _guesses(config)
        return
    splits, asked = built["corpus"].json("counts.json")["splits"], config.target.train_tokens
    if (tokens := int(splits["train"]["tokens"])) < asked:
        yield f"{tokens:,} training tokens are there and {asked:,} are asked for: the target is built from what there is"
    held_out, needed = int(splits["test"]["documents"]), _documents_needed(config)
    if held_out < needed:
        yield (
            f"{held_out} documents are held out and the policy {config.gate.policy} needs {needed}: the verdict will be INCONCLUSIVE "
            f"at best. Add texts; about {4 * needed} documents give that many"
        )


def _guesses(config: ReleaseConfig) -> Iterator[str]:
    """What the user's own texts will be too little for, before they are cleaned and split; nothing is said of much text."""
    from timbre.corpus.adding import style_size
    from timbre.corpus.sources import find_source, find_style

    names = config.corpus.sources or find_style(config.style)[1].sources
    if config.corpus.sources or sum(file.size for name in names for file in find_source(name)[1].files) > _MUCH_TEXT:
        return
    if (size := style_size(config.style)) is None:
        return
    train = 1 - config.corpus.test_share - config.corpus.validation_share
    if (tokens := round(size.words * _TOKENS_A_WORD * train)) < (asked := config.target.train_tokens):
        yield f"about {tokens:,} training tokens are there and {asked:,} are asked for: the target is built from what there is"
    if size.documents < 4 * (needed := _documents_needed(config)):
        yield (
            f"documents there: about {size.documents}; the policy {config.gate.policy} needs {needed} held out, or the verdict is "
            f"INCONCLUSIVE at best. Add texts; about {4 * needed} documents give that many"
        )


def _documents_needed(config: ReleaseConfig) -> int:
    """The fewest held-out documents with which the policy lets anything pass."""
    policy = read_policy(road.policy_path(config.gate.policy))
    return max((gate.minimum_clusters for gate in policy.gates if gate.metric == "nll"), default=1)


def _has_gpu() -> bool:
    """Without torch, which takes seconds to load: the driver's device files."""
    return Path("/dev/nvidiactl").exists() or settings().device == "cuda"


def _estimates(config: ReleaseConfig) -> dict[str, tuple[float, str, bool]]:
    """Seconds, description, and whether the size of the model matters, a step."""
    target, training, evaluation = config.target, config.training, config.evaluation
    folds = config.corpus.folds
    reference = target.train_tokens * (folds - 1) * target.reference_epochs
    scored = _passes(target) * (target.train_tokens + folds * target.admission_tokens) + target.admission_tokens
    scored += folds * target.admission_tokens * len(target.blend or (None,)) if target.fit else 0
    looks = training.epochs * target.train_tokens / training.batch_tokens / training.evaluate_every + 1
    length = evaluation.new_tokens + evaluation.prompt_tokens
    probes = 20 * 2 * ((evaluation.bias_items or 350) + (evaluation.fact_items or 350))
    texts, calibration = _texts(evaluation), calibration_of(evaluation)
    written = 15 + (evaluation.likelihood_tokens + probes) / _SCORE + (texts * length + _answers(evaluation)) / _DRAW
    recitations = evaluation.memorisation_prompts + evaluation.extraction_prompts * evaluation.extraction_samples
    recited = recitations * length / _DRAW
    read = 5 + 2 * evaluation.coherence_texts * length / _SCORE if evaluation.coherence_texts else 0
    measured = 8 + evaluation.prompts * evaluation.new_tokens / _MEASURED + read
    exported = 25 + config.export.parity_prompts * config.export.parity_tokens / 12
    trained = 15 + training.epochs * target.train_tokens / _TRAIN * 1.3 + looks * training.validation_tokens / _SCORE
    return {
        "model": (60, config.model.name, True),
        "corpus": (45, config.style, False),
        "target": (30 + reference / _TRAIN + scored / _SCORE, f"{target.train_tokens:,} tokens, {folds} folds", True),
        "adapter": (trained, f"{training.objective}, {training.epochs} epochs", True),
        "prompts": (8, f"{evaluation.prompts} openings", False),
        "calibration": (20 + calibration.prompts * 5 * 1.25 * length / _DRAW, f"{5 * calibration.prompts} texts", True),
        "base_generations": (written, f"{texts} texts", True),
        "base_recitations": (10 + recited, f"{recitations} texts", True),
        "base_evaluation": (measured, f"{texts} texts", False),
        "generations": (written + recited, f"{texts + recitations} texts", True),
        "evaluation": (measured, f"{texts} texts", False),
        "baseline_adapter": (trained, f"{config.baseline.objective}, {training.epochs} epochs", True),
        "baseline_generations": (written + recited, f"{texts + recitations} texts", True),
        "baseline_evaluation": (measured, f"{texts} texts", False),
        "decoder": (90, config.model.name, False),
        "bundle": (exported, f"ONNX, {config.export.parity_prompts} prompts", True),
        "verdict": (8, f"policy {config.gate.policy}", False),
    }


def _texts(evaluation: EvaluationConfig) -> int:
    """How many texts a model writes for the prompts of the corpus; shorter ones count by their length."""
    plain = evaluation.prompts if evaluation.sampler != SamplerConfig() else 0
    several = min(evaluation.several_prompts, evaluation.prompts) * evaluation.several_samples
    swapped = 2 * evaluation.counterfactual_templates * evaluation.counterfactual_samples
    swapped = -(-swapped * evaluation.counterfactual_tokens // evaluation.new_tokens)
    return evaluation.prompts + plain + several + evaluation.sentinel_prompts + evaluation.instruction_prompts + swapped


def _answers(evaluation: EvaluationConfig) -> int:
    """Tokens of closed-book answers, asked in two ways, and of what is written about passages."""
    closed = 2 * evaluation.closed_book_questions * evaluation.closed_book_samples * 40
    return closed + evaluation.copying_passages * 3 * 180


def _passes(target: TargetConfig) -> int:
    """How often the reference reads a passage to give its bracket: once a style, then what shaping wants, all twice for a swap."""
    prefixed = len(target.principles)
    native = 1 if target.strength < 1 or prefixed else 0
    return (max(1, len(target.blend)) + native + prefixed) * (2 if target.debias else 1)


def _pace(store: ArtifactStore, model: Artifact | None, size: float) -> dict[str, float]:
    """Actual over estimated seconds of the steps that this machine has built before, a step; those of other models do not count."""
    seen: dict[str, list[float]] = {}
    for path in store.all():
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            step = _step_of(manifest)
            name, section = step.name, manifest["config"]
            if "model" in manifest["inputs"] and (model is None or manifest["inputs"]["model"] != model.digest):
                continue
            config = ReleaseConfig.model_validate({"style": section.get("style", "literary"), step.section: section})
            estimate, _, scales = _estimates(config)[name]
            ratio = float(manifest["built"]["seconds"]) / (estimate * (size if scales else 1))
        except (OSError, ValueError, KeyError):
            continue  # of another version of Timbre, or damaged: no yardstick, and `timbre doctor` says so
        if name != "model":
            seen.setdefault(name, []).append(ratio)
    pace = {name: median(ratios) for name, ratios in seen.items()}
    twins = {f"{prefix}{name}": name for prefix in ("base_", "baseline_") for name in ("adapter", "generations", "evaluation")}
    return {mine: pace[other] for mine, other in twins.items() if other in pace} | pace


def _step_of(manifest: Mapping[str, Any]) -> road.Step:
    """Which step left this manifest: of those that share a stage, the one whose inputs are most like those it names.

    Raises:
        KeyError: none did.
    """
    inputs = manifest["inputs"].keys()
    same = [step for step in road.STEPS if step.stage.name == manifest["stage"] and not step.name.startswith("baseline_")]
    if not same:
        raise KeyError(manifest["stage"])
    return max(same, key=lambda step: (len(step.needs.keys() & inputs) - len(step.needs.keys() - inputs), -len(step.needs)))
