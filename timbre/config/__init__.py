"""What one release is asked to do: frozen, typed, and the only source of stage keys.

`ReleaseConfig` is at once the parameter form of the Prefect flow, the options of `timbre run` and the shape of
`params.yaml`. A profile (`quick`, `standard`, `gpu`) is a set of defaults; anything can be set on top of it.
Seeds: `ReleaseConfig.seed` moves target and training. Splits and evaluation keep seeds of their own, so that two
candidates are always measured on the same documents, prompts and probes.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from timbre.config.base import Frozen as Frozen
from timbre.config.base import FrozenT as FrozenT
from timbre.config.base import Grown as Grown
from timbre.config.base import ModelConfig as ModelConfig
from timbre.config.base import read_toml as read_toml
from timbre.config.evaluation import SERVING as SERVING
from timbre.config.evaluation import EvaluationConfig as EvaluationConfig
from timbre.config.evaluation import GenerationConfig as GenerationConfig
from timbre.config.evaluation import MisuseConfig as MisuseConfig
from timbre.config.evaluation import PromptConfig as PromptConfig
from timbre.config.evaluation import SamplerConfig as SamplerConfig
from timbre.config.profiles import PROFILES
from timbre.config.sequence import CompletionsConfig as CompletionsConfig
from timbre.config.sequence import SequenceConfig as SequenceConfig

Profile = Literal["quick", "standard", "gpu"]


def objective_names() -> tuple[str, ...]:
    """The objectives there are: one is a file of `timbre/objectives/recommended` or `experimental`, and named as the file."""
    folder = Path(__file__).parents[1] / "objectives"
    return tuple(path.stem for room in ("recommended", "experimental") for path in sorted((folder / room).glob("[!_]*.py")))


def _known_objective(name: str) -> str:
    if name not in objective_names():
        raise ValueError(f"unknown objective {name!r}: choose one of {', '.join(objective_names())}")
    return name


Objective = Annotated[str, AfterValidator(_known_objective)]
Adapter = Literal["lora", "correction", "full"]
TailMode = Literal["bucket", "renorm", "drop", "uniform"]


class CorpusConfig(Frozen):
    """Which texts a style is made of, and how they are cleaned and split."""

    style: str = "literary"
    sources: tuple[str, ...] = Field((), description="Catalogue entries (data/sources/*.toml); empty means those of the style preset.")
    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes that are kept; empty means those each source is written in.")
    min_words: int = Field(40, ge=1, description="Shorter documents are rejected; where a script has no spaces, characters are counted.")
    repeated_share: float = Field(
        1 / 3, gt=0, le=1, description="A first or last line that stands in more of a source's documents is removed; 1 keeps all."
    )
    max_documents: int | None = Field(None, ge=1, description="Keep at most this many documents, drawn by seed; None keeps all.")
    duplicate_threshold: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of 5-word shingles from which a later document is dropped."
    )
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.15, gt=0, lt=0.5)
    folds: int = Field(2, ge=2, description="K of the cross-fitted reference.")
    seed: int = 0


class BlendPart(Frozen):
    """One style of a blend: its share, and the sources whose documents are written in it."""

    style: str
    weight: float = Field(gt=0, le=1)
    sources: tuple[str, ...] = Field(min_length=1)


class PrincipleUse(Frozen):
    """A written principle (data/principles/*.toml) and how strongly the target follows it."""

    name: str = Field(pattern=r"[a-z0-9][a-z0-9-]{0,47}")
    strength: float = Field(ge=-100, le=100, description="β of P·exp(β·r); negative turns the principle around.")


class TargetConfig(Frozen):
    """The target distribution P_t = α·δ(y_t) + (1−α)·[(1−η_t)·P_ref(·|h_t) + η_t·P_ngram(·|h_t)], its shaping and its coding.

    Shaping comes in this order: temperature, blend, n-gram, strength, principles, debias; then the observed token, then
    the coding. What is left at its default is not there.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    alpha: float = Field(0.75, ge=0, le=1, description="Weight of the observed token.")
    top_k: int = Field(64, ge=1, description="Tokens stored a position; the rest is the tail mass.")
    temperature: float = Field(1.0, ge=0.01, le=100, description="Temperature of the reference.")
    train_tokens: int = Field(4096, ge=64, description="Budget of training tokens.")
    passage_tokens: int = Field(256, ge=16, description="Longest passage.")
    admission_tokens: int = Field(2048, ge=64, description="Budget of validation tokens for the admission test.")
    reference: ModelConfig | None = Field(
        None, description="Another model as the reference, with the same tokenizer; null: the base model."
    )
    reference_epochs: int = Field(2, ge=0)
    reference_learning_rate: float = Field(5e-4, gt=0)
    reference_rank: int = Field(16, ge=1)
    batch_tokens: int = Field(1024, ge=16, description="Tokens a scoring or training batch.")
    ngram_weight: float = Field(0.0, ge=0, le=1, description="η_max of the n-gram component; 0 leaves it out.")
    ngram_order: int = Field(5, ge=2, le=5, description="Longest n-gram.")
    fit: tuple[Literal["temperature", "ngram", "blend"], ...] = Field(
        (), description="Fitted by the reference distribution's log score on validation documents, in place of what is given here."
    )
    pool_continuations: bool = Field(False, description="Human continuations of exactly the same context share their weight α.")
    formats: tuple[Literal["continuation", "instruction"], ...] = Field(
        ("continuation",), min_length=1, description="Passages take turns: raw prose, or the answer to a prompt in the chat template."
    )
    coding: Literal["topk", "sampled"] = Field("topk", description="topk: K tokens and the tail mass; sampled: tokens drawn from P.")
    draws: int = Field(48, ge=1, le=255, description="Tokens drawn a position by the coding 'sampled'.")
    precision: Literal["u8", "fp16"] = Field("u8", description="Of the coding 'topk'.")
    blend: tuple[BlendPart, ...] = Field((), description="Styles that the documents belong to; weights sum to 1.")
    strength: float = Field(1.0, ge=0, le=1, description="s of P ∝ P_native^(1−s)·P_style^s: 1 is the style, 0 the base model.")
    principles: tuple[PrincipleUse, ...] = ()
    debias: str = Field("", description="A table of swaps (data/principles/*.toml, kind 'swap') to average over.")
    seed: int = 1

    @model_validator(mode="after")
    def _coherent(self) -> "TargetConfig":
        if self.blend:
            total = sum(part.weight for part in self.blend)
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the weights of target.blend sum to {total:g}: make them sum to 1")
            for what, names in (
                ("style", [part.style for part in self.blend]),
                ("source", [n for part in self.blend for n in part.sources]),
            ):
                if len(set(names)) < len(names):
                    raise ValueError(f"target.blend names a {what} twice: give each {what} once")
        if "blend" in self.fit and len(self.blend) < 2:
            raise ValueError("target.fit asks for blend weights, but target.blend has fewer than two styles: add one, or leave 'blend' out")
        if self.blend and self.reference_epochs == 0:
            raise ValueError("a blend needs a reference for each style: raise target.reference_epochs above 0, or empty target.blend")
        if self.strength == 0 and self.fit:
            raise ValueError("target.strength 0 is the base model whatever is fitted: raise it, or empty target.fit")
        for what, given in (("formats", self.formats), ("fit", self.fit), ("principles", [use.name for use in self.principles])):
            if len(set(given)) < len(given):
                raise ValueError(f"target.{what} names something twice: give each once")
        return self


class LevelledTargetConfig(TargetConfig):
    """The target of a release: that of tokens, and whether whole completions are weighed on top of it."""

    level: Literal["token", "sequence"] = Field("token", description="sequence: completions of the tuned model, weighed, where admitted.")
    sequence: SequenceConfig = SequenceConfig()

    def of_tokens(self) -> TargetConfig:
        """What the stage "target" is built with, at either level the same."""
        return TargetConfig(**{name: getattr(self, name) for name in TargetConfig.model_fields})


class TrainingConfig(Grown):
    """Towards the target (`forward_kl`), or towards the observed token (`sft`) and the other baselines, in the same code."""

    model_config = ConfigDict(allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset({"refusals"})
    objective: Objective = Field("forward_kl", description="What is minimised: a file of timbre/objectives/recommended or experimental.")
    adapter: Adapter = Field("lora", description="lora, correction (bias and low-rank term on the logits, base frozen) or full.")
    tail: TailMode = Field("bucket", description="What the tail mass means in forward_kl: bucket, renorm, drop or uniform.")
    jsd_beta: float = Field(0.5, gt=0, lt=1, description="β of the objective jsd.")
    smoothing: float = Field(0.1, ge=0, lt=1, description="ε of the objective label_smoothing.")
    gem_beta: float = Field(0.7, gt=0, le=1, description="β of the objective gem.")
    teacher_alpha: float = Field(0.5, ge=0, le=1, description="Weight of the observed token in the objective resident_teacher.")
    dpo_beta: float = Field(0.1, gt=0, description="β of the objective dpo.")
    dpo_prompt_tokens: int = Field(16, ge=1, description="Tokens of a passage that the base continues, for the objective dpo.")
    epochs: int = Field(2, ge=0)
    learning_rate: float = Field(5e-4, gt=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    rank: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    batch_tokens: int = Field(1024, ge=16, description="Target tokens an optimizer step and process.")
    micro_tokens: int | None = Field(None, ge=16, description="Target tokens a backward pass, gradients added up; None is the whole step.")
    packing: bool = Field(False, description="Several passages in one row, each with positions and attention of its own.")
    autocast: Literal["off", "bf16"] = Field("off", description="bf16: products in bf16, sums, losses and trained weights in fp32.")
    processes: int = Field(1, ge=1, description="Data-parallel processes on this machine, started by torchrun.")
    sharding: Literal["replicate", "fsdp2"] = Field("replicate", description="With several processes: whole copies, or sharded weights.")
    replay_weight: float = Field(0.1, ge=0, description="λ of the accuracy term: cross-entropy on the replay set.")
    replay_items: int = Field(2, ge=0, description="Replay items an optimizer step and process.")
    refusals: bool = Field(False, description="The replay set also holds refusals of harmful requests, and their harmless twins.")
    base_kl_weight: float = Field(0.0, ge=0, description="μ of KL(base‖model) on neutral prompts: those of the replay set.")
    validation_tokens: int = Field(2048, ge=64, description="Held-out tokens that early stopping looks at.")
    evaluate_every: int = Field(4, ge=1, description="Optimizer steps between looks at held-out text.")
    patience: int = Field(3, ge=1, description="Looks without improvement before stopping.")
    checkpoint_every: int = Field(1, ge=1, description="Optimizer steps between checkpoints.")
    seed: int = 1

    @model_validator(mode="after")
    def _refusals_are_practised(self) -> "TrainingConfig":
        if self.refusals and 0 in (self.replay_weight, self.replay_items):
            raise ValueError("training.refusals are practised with the replay set: set replay_weight and replay_items above 0")
        return self


class BaselineConfig(Frozen):
    """A second student of the same target, corpus, budget and seed, for the report; no gate reads it."""

    objective: Objective | None = Field(None, description="What it is trained with, for example sft; null trains none.")


class ExportConfig(Frozen):
    """The ONNX bundle."""

    parity_prompts: int = Field(20, ge=1, description="Prompts on which greedy text must be the same as torch's.")
    parity_tokens: int = Field(24, ge=1, description="Tokens of greedy text a prompt.")
    latency_tokens: int = Field(32, ge=1)
    sampler: SamplerConfig = Field(SERVING, description="How served text is drawn; a release sets it to evaluation.sampler.")


class GateConfig(Frozen):
    """Which policy judges the evidence."""

    policy: str = Field("quick", description="Name of a file in mlflow/policies/.")


class PublishConfig(Frozen):
    """What happens to a candidate that passed."""

    promotion: Literal["auto", "manual"] = Field("auto", description="manual stops with exit code 5 and waits for `timbre approve`.")
    approval_hours: float = Field(72.0, gt=0, description="With manual promotion: so long may a person take to decide.")


class ReleaseConfig(Frozen):
    """One release, from raw text to a promoted version.

    What is not given is filled in by the profile, the style and the seed, so that {style, profile} says everything: that
    is what a schedule and the form of the Prefect page send.
    """

    style: str = "literary"
    profile: Profile = "quick"
    seed: int = Field(1, ge=0, description="Moves target and training; splits and evaluation keep their own.")
    model: ModelConfig = ModelConfig()
    corpus: CorpusConfig = CorpusConfig()
    target: LevelledTargetConfig = LevelledTargetConfig()
    training: TrainingConfig = TrainingConfig()
    baseline: BaselineConfig = BaselineConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    misuse: MisuseConfig = MisuseConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()

    @model_validator(mode="after")
    def _one_style(self) -> "ReleaseConfig":
        if self.corpus.style != self.style:
            raise ValueError(f"corpus.style is {self.corpus.style!r} in a release of {self.style!r}: set style only")
        return self

    @model_validator(mode="after")
    def _served_as_judged(self) -> "ReleaseConfig":
        if self.export.sampler not in (SERVING, self.evaluation.sampler):
            raise ValueError("export.sampler differs from evaluation.sampler: texts are judged as they are served; set the latter only")
        return self

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        style, seed = given.get("style", cls.model_fields["style"].default), given.get("seed", cls.model_fields["seed"].default)
        defaults = {section: dict(values) for section, values in PROFILES.get(str(given.get("profile", "quick")), {}).items()}
        for section, name, value in (("corpus", "style", style), ("target", "seed", seed), ("training", "seed", seed)):
            defaults.setdefault(section, {})[name] = value
        return given | {
            section: values | given.get(section, {}) for section, values in defaults.items() if isinstance(given.get(section, {}), dict)
        }


def release_config(style: str, profile: str = "quick", seed: int = 1, overrides: dict[str, Any] | None = None) -> ReleaseConfig:
    """The configuration of a release: profile defaults, then `overrides` such as {"target.alpha": 0.75}.

    A number may stand in quotes: "0.5" is .5, and the release is the same.

    Raises:
        ValueError: unknown profile or field, or a value out of range; the sentence names the field. Also an override of style, profile
            or seed by another, and the policy or budget of another profile (as a form keeps them that was filled in for that one).
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    tree: dict[str, Any] = {"style": style, "profile": profile, "seed": seed}
    chosen = dict(tree)
    for dotted, value in copy.deepcopy(overrides or {}).items():
        *path, leaf = dotted.split(".")
        if dotted in chosen and value != chosen[dotted]:
            raise ValueError(f"the overrides say {dotted}={value} and the release {dotted}={chosen[dotted]}: give it in its own field only")
        branch = tree
        for name in path:
            branch = branch.setdefault(name, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{dotted}: {name} is a value, not a section")
        branch[leaf] = value
    config = ReleaseConfig.model_validate(tree)
    for dotted, value in _leaves(overrides or {}):
        if isinstance(value, bool) and not isinstance(_value(config, dotted), bool):
            raise ValueError(f"{dotted}: {str(value).lower()} is no number: give one")
    return config


def _leaves(overrides: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted name, those inside of sections too."""
    for name, value in overrides.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def check_profile(config: ReleaseConfig) -> ReleaseConfig:
    """The same release, whose policy and budget must not be those of another profile, as a form or a file keeps them that was
    filled in for that one. (An option that somebody types is theirs.)

    Raises:
        ValueError: they are; the sentence names both profiles.
    """
    for dotted in ("gate.policy", "target.train_tokens"):
        own = {name: _value(ReleaseConfig.model_validate({"profile": name}), dotted) for name in PROFILES}
        value = _value(config, dotted)
        if value != own[config.profile] and (other := next((name for name in own if own[name] == value), None)) is not None:
            raise ValueError(
                f"{dotted}={value} is of the profile {other}, and the profile {config.profile} has {own[config.profile]}: "
                f"choose the profile {other}, or leave {dotted} out"
            )
    return config


def _value(config: ReleaseConfig, dotted: str) -> Any:
    """A field by its dotted name; None where there is none."""
    found: Any = config
    for name in dotted.split("."):
        found = getattr(found, name, None)
    return found


_ABSENT = object()


def overrides_of(config: ReleaseConfig) -> dict[str, Any]:
    """What style, profile and seed do not say of a release: `release_config` makes the same one from it again."""
    plain = release_config(config.style, config.profile, config.seed).model_dump(mode="json")
    found = {}
    for section, values in config.model_dump(mode="json").items():
        if isinstance(values, dict):
            for name in plain[section] | values:  # a field that is off may stand in neither, or in one alone
                here, there = (side.get(name, _ABSENT) for side in (values, plain[section]))
                if here != there:
                    found[f"{section}.{name}"] = _value(config, f"{section}.{name}") if here is _ABSENT else here
    return found
