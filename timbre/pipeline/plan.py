"""The plan of a release: which steps stand, and what the others will take here.

Seconds are those of each step's `cost`, scaled by the size of the model, and then by how this machine did before with this
model: the median of actual over estimated seconds in the manifests it holds.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from timbre.artifacts import MANIFEST, Artifact, ArtifactStore
from timbre.config import ReleaseConfig, TrainingConfig
from timbre.gates.policy import read_policy
from timbre.pipeline.advice import advice
from timbre.pipeline.building import find, steps_of
from timbre.pipeline.inputs import policy_path
from timbre.pipeline.steps import STEPS, Step
from timbre.precision import precision
from timbre.settings import settings

_REFERENCE_PARAMETERS = 134_515_008
_BYTES_A_PARAMETER = 22
"""Peak resident bytes a parameter, seen while exporting in fp32."""
_BYTES_FROZEN, _ACTIVATIONS = 4, 0.012
"""Bytes a parameter while an adapter trains, and what a backward pass keeps a token and parameter: an estimate from the shapes."""
_BYTES_TRAINED = 4 + 4 + 8 + 4
"""Of all weights: themselves, gradients, AdamW's two moments, the best look so far. A checkpoint is written from where they lie."""

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
    advice: str = ""
    """What was measured to do as well with less, if anything."""
    numbers: str = ""
    """In which numbers models will run; it decides results, and stands in every key."""
    corpus: Mapping[str, Any] | None = None
    """Documents read, kept and rejected by reason, where the corpus stands or a user's own texts are few enough to be tried."""

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
            "precision": self.numbers,
            "warnings": [*self.warnings],
            "advice": self.advice,
            "corpus": self.corpus,
            **cost,
        }


def plan(config: ReleaseConfig, store: ArtifactStore) -> Plan:
    """What `timbre run` would do now.

    Raises:
        ValueError: an unknown style, source, policy or model, or a model folder that cannot go the whole road.
    """
    built = find(config, store)
    if "decoder" not in built:
        _check_model(config)
    parameters = int(built["model"].json("model.json")["parameters"]) if "model" in built else _REFERENCE_PARAMETERS
    size = parameters / _REFERENCE_PARAMETERS
    pace = _pace(store, built.get("model"), size)
    items = []
    for step in steps_of(config):
        cost = step.cost(config)
        seconds = cost.seconds * (size if cost.scales else 1) * pace.get(step.name, 1.0)
        items.append(Item(step.name, step.name in built, seconds, cost.what))
    policy_path(config.gate.policy)
    corpus = _counts(config, built)
    notes = tuple(_warnings(config, built, corpus))
    counted = {name: corpus[name] for name in ("read", "kept", "rejected")} if corpus is not None else None
    return Plan(tuple(items), _memory_gib(config, parameters), notes, advice(config), precision().sentence(), counted)


def _check_model(config: ReleaseConfig) -> None:
    """A model folder that nobody has tried here; the packaged model is known, and a hub's is looked at when it is fetched."""
    from timbre.models import model_inputs
    from timbre.models.folder import ModelFolder

    if isinstance(given := model_inputs(config.model).get("folder"), ModelFolder):
        from timbre.export.rehearsal import check_exportable

        check_exportable(given.path)


def _memory_gib(config: ReleaseConfig, parameters: int) -> float:
    """The export's copies of the weights, or the activations of the largest batch, whichever is more."""
    tokens = max(config.training.micro_tokens or config.training.batch_tokens, config.target.batch_tokens)
    exported = parameters * _BYTES_A_PARAMETER
    trained = parameters * _bytes_of_training(config.training) + tokens * parameters * _ACTIVATIONS
    if config.training.sharding == "replicate":
        trained *= config.training.processes
    return 1.5 + max(exported, trained) / 2**30


def _bytes_of_training(training: TrainingConfig) -> int:
    """Bytes a parameter of the model; with all weights trained, an objective that compares with the base needs a copy of it."""
    if training.adapter != "full":
        return _BYTES_FROZEN
    from timbre.objectives.objective import objective  # torch, which a plan of anything else does without

    compared = training.base_kl_weight > 0 or objective(training.objective).needs in ("base", "pairs")
    return _BYTES_TRAINED + (_BYTES_FROZEN if compared else 0)


def _counts(config: ReleaseConfig, built: Mapping[str, Artifact]) -> Mapping[str, Any] | None:
    """What the corpus reads, keeps and rejects: as it stands, or, of few texts of the user's own, tried."""
    from timbre.corpus.shelf import style_counts
    from timbre.corpus.sources import find_source, find_style

    if "corpus" in built:
        counts: dict[str, Any] = built["corpus"].json("counts.json")
        return counts
    names = config.corpus.sources or find_style(config.style)[1].sources
    if config.corpus.sources or sum(file.size for name in names for file in find_source(name)[1].files) > _MUCH_TEXT:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # building it says what there is to say
        return style_counts(config.corpus)


def _warnings(config: ReleaseConfig, built: Mapping[str, Artifact], counts: Mapping[str, Any] | None) -> Iterator[str]:
    if config.profile == "gpu" and not _has_gpu():
        yield "no CUDA device is here: the profile gpu would run on the CPU, as the seconds above say; `--profile standard` is made for it"
    if "corpus" not in built:
        yield from _guesses(config, counts) if counts is not None else ()
        return
    assert counts is not None
    splits, budget = counts["splits"], config.target.train_tokens
    if (tokens := int(splits["train"]["tokens"])) < budget:
        yield f"{tokens:,} training tokens are there and {budget:,} are asked for: the target is built from what there is"
    held_out, needed = int(splits["test"]["documents"]), _documents_needed(config)
    if held_out < needed:
        yield (
            f"{held_out} documents are held out and the policy {config.gate.policy} needs {needed}: the verdict will be INCONCLUSIVE "
            f"at best. Add texts; about {4 * needed} documents give that many"
        )


def _guesses(config: ReleaseConfig, counts: Mapping[str, Any]) -> Iterator[str]:
    """What the user's own texts will be too little for, before they are split."""
    train = 1 - config.corpus.test_share - config.corpus.validation_share
    if (tokens := round(counts["words"] * _TOKENS_A_WORD * train)) < (budget := config.target.train_tokens):
        yield f"about {tokens:,} training tokens are there and {budget:,} are asked for: the target is built from what there is"
    if counts["kept"] < 4 * (needed := _documents_needed(config)):
        yield (
            f"documents there: about {counts['kept']}; the policy {config.gate.policy} needs {needed} held out, or the verdict is "
            f"INCONCLUSIVE at best. Add texts; about {4 * needed} documents give that many"
        )


def _documents_needed(config: ReleaseConfig) -> int:
    """The fewest held-out documents with which the policy lets anything pass."""
    policy = read_policy(policy_path(config.gate.policy))
    return max((gate.minimum_clusters for gate in policy.gates if gate.metric == "nll"), default=1)


def _has_gpu() -> bool:
    """Without torch, which takes seconds to load: the driver's device files."""
    return Path("/dev/nvidiactl").exists() or settings().device == "cuda"


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
            cost = step.cost(config)
            ratio = float(manifest["built"]["seconds"]) / (cost.seconds * (size if cost.scales else 1))
        except (OSError, ValueError, KeyError):
            continue  # of another version of Timbre, or damaged: no yardstick, and `timbre doctor` says so
        if name != "model":
            seen.setdefault(name, []).append(ratio)
    pace = {name: median(ratios) for name, ratios in seen.items()}
    twins = {f"{prefix}{name}": name for prefix in ("base_", "baseline_", "token_") for name in ("adapter", "generations", "evaluation")}
    return {mine: pace[other] for mine, other in twins.items() if other in pace} | pace


def _step_of(manifest: Mapping[str, Any]) -> Step:
    """Which step left this manifest: of those that share a stage, the one whose inputs are most like those it names.

    Raises:
        KeyError: none did.
    """
    inputs = manifest["inputs"].keys()
    same = [step for step in STEPS if step.stage.name == manifest["stage"] and not step.name.startswith(("baseline_", "token_"))]
    if not same:
        raise KeyError(manifest["stage"])
    return max(same, key=lambda step: (len(step.needs.keys() & inputs) - len(step.needs.keys() - inputs), -len(step.needs)))
