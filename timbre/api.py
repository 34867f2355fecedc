"""Distribution Fine-Tuning with plain values: texts, a model by folder or object, a configuration; nothing is stored.

    model = timbre.load("models/base")                 a folder, the packaged default, or (network, tokenizer)
    targets = timbre.make_targets(texts, model)        cross-fitted target distributions, in memory
    tuned = timbre.train(model, targets)               an adapter towards them
    texts = timbre.generate(tuned, ["It was"])         what it writes

Everything here is what the stages of the road do, by the same functions, without artifacts, cleaning or gates. It needs the extra
`train`; `timbre.metrics` needs none. Names are imported from `timbre` itself.
"""

import copy
import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.config import SERVING, ModelConfig, SamplerConfig, TargetConfig, TrainingConfig
from timbre.extras import require
from timbre.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from timbre.corpus.documents import Document
    from timbre.corpus.passages import Passage
    from timbre.store import TargetRow
    from timbre.training.data import Example

Texts = Iterable[str] | Iterable[Mapping[str, Any]]
"""Strings, or rows with a `text`, such as those of a `datasets.Dataset`."""

_IN_MEMORY = ("alpha", "top_k", "temperature", "train_tokens", "passage_tokens", "reference_epochs", "reference_learning_rate",
              "reference_rank", "batch_tokens", "seed")  # fmt: skip
_FOLDS = 2
_BATCH_TOKENS = 8192


@dataclass(frozen=True, eq=False)
class Model:
    """A causal language model in memory, in eval mode, and what was found out about it."""

    network: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    vocab_size: int
    """The largest token id and one."""
    context: int
    """Tokens that it reads at most."""

    def save(self, folder: str | Path) -> Path:
        """Write model and tokenizer as transformers reads them, merged: no adapter is needed beside it.

        Raises:
            ValueError: a trained correction of the head, which transformers has no place for; save its adapter instead.
        """
        from timbre.models import head_bias

        if head_bias(self.network) is not None:
            raise ValueError("a corrected head has a bias, which transformers would drop: use save_adapter")
        self.network.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))
        return Path(folder)


@dataclass(frozen=True, eq=False)
class Targets:
    """Target distributions over the next token, one row a passage: P_t = α·δ(y_t) + (1−α)·P_ref(·|h_t)."""

    rows: tuple["TargetRow", ...]
    """Of each passage `token_ids_T`, and at its T−1 positions `ids_TK`, `probs_TK` (the K likeliest tokens, observed one among
    them) and `tail_T` (the mass of all others); see `timbre.store.TargetRow`."""
    gain: float
    """Nats a token by which the reference predicts text that it has not seen better than the base model."""
    config: TargetConfig

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Tuned(Model):
    """A trained model, merged, and how it came about."""

    curve: tuple[Mapping[str, Any], ...] = ()
    """One row a step: {step, loss, held_out_nll?, …}, nats a token; see `timbre.training.trainer.TrainingResult`."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def save_adapter(self, folder: str | Path) -> Path:
        """Write what was trained, without the base; peft reads it where it is LoRA."""
        for name, content in self.adapter.items():
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        return Path(folder)


def load(model: "str | Path | tuple[PreTrainedModel, PreTrainedTokenizerBase] | Model", revision: str | None = None) -> Model:
    """A model that can be trained, on the device and in the precision that `TIMBRE_DEVICE` and `TIMBRE_DTYPE` say.

    Args:
        model: a folder as `save_pretrained` leaves it, "smollm2-135m-instruct", OWNER/NAME of a hub with its `revision`, or a model
            and a tokenizer of transformers, which are used as they are.

    Raises:
        MissingExtraError: the extra `train` is not installed; so do all functions here.
        ValueError: no such model, or one that cannot be used; the sentence says why.
    """
    require("train", "timbre.load")
    from timbre.models.inspection import inspect_loaded

    if isinstance(model, Model):
        return model
    given: Any = model if isinstance(model, tuple) else _from_disk(str(model), revision)
    network, tokenizer = given
    network.requires_grad_(False).eval()
    facts = inspect_loaded(network, tokenizer)
    return Model(network, tokenizer, facts["vocab_size"], facts["context"])


def make_targets(
    texts: Texts, model: "Model | str | Path", config: TargetConfig | None = None, *, progress: Progress | None = None
) -> Targets:
    """Target distributions of texts, each text scored by an adapter that never saw it (cross-fitting over two halves).

    Texts are taken as they are, one document each: clean and deduplicate them before. `config.train_tokens` bounds how much is used.

    Args:
        config: alpha, top_k, temperature, train_tokens, passage_tokens, batch_tokens, seed and reference_*; what shapes targets
            beyond that (blends, n-grams, principles, debiasing, codings) is had from `timbre run`.
        progress: default a bar on stderr; `Progress(visible=False)` shows none.

    Raises:
        ValueError: fewer than two texts, no token in them, or a field of `config` that is not for targets in memory.
    """
    require("train", "timbre.make_targets")
    from timbre.corpus.passages import select_passages
    from timbre.targets.reference import folds_of, passages_to_learn, passages_to_score
    from timbre.targets.rows import target_row
    from timbre.targets.scoring import score_passages

    config, progress, model = _checked(config or TargetConfig()), progress or Progress(), load(model)
    documents = _documents(texts, "train", config.seed)
    if len(documents) < _FOLDS:
        raise ValueError(f"{len(documents)} texts are too few: each is scored by a model that never saw it, so give 2 or more")
    length = min(config.passage_tokens, model.context - 1)
    drawn = select_passages(documents, model.tokenizer, budget_tokens=config.train_tokens, passage_tokens=length, seed=config.seed)
    passages = [passage for passage in drawn if passage.positions]
    how: dict[str, Any] = {
        "top_k": min(config.top_k, model.vocab_size), "batch_tokens": config.batch_tokens, "vocab_size": model.vocab_size,
    }  # fmt: skip
    rows: list[TargetRow] = []
    better: list[float] = []
    for fold in folds_of(passages):
        network = _reference(model, passages_to_learn(passages, fold), config, progress)
        unseen = passages_to_score(passages, fold)
        scored = score_passages(network, unseen, temperature=config.temperature, **how)
        scores = dict(progress.track(scored, f"scoring half {fold + 1}", total=len(unseen)))
        plain = dict(score_passages(model.network, unseen, temperature=1.0, **how))
        for place, passage in enumerate(unseen):
            rows.append(target_row(passage, scores[place], config.alpha, None, None, model.vocab_size, None))
            better += (scores[place].log_probs_N - plain[place].log_probs_N).tolist()
    gain = float(np.mean(better))
    if gain <= 0:
        warnings.warn(
            f"the reference predicts unseen text {-gain:.3f} nats a token worse than the base model: give more text, or raise "
            "reference_epochs or reference_learning_rate",
            stacklevel=2,
        )
    return Targets(tuple(rows), gain, config)


def loss(model: Model, targets: Targets, *, tail: str = "bucket") -> float:
    """Mean forward KL(P_t ‖ P_θ) over all positions of the targets, nats; what `train` lowers.

    Args:
        tail: what the mass beyond the K tokens means; see `TrainingConfig.tail`.
    """
    require("train", "timbre.loss")
    import torch

    from timbre.training.data import Example, collate
    from timbre.training.student import Student

    student = Student(model.network, TrainingConfig.model_validate({"tail": tail}), model.vocab_size)
    total = positions = 0.0
    with torch.no_grad():
        for row in targets.rows:
            batch = collate([Example.of_row(row)])
            total += float(student.total(batch))
            positions += batch.positions
    return total / positions


def train(
    model: "Model | str | Path", targets: Targets, config: TrainingConfig | None = None, *, held_out: Texts = (),
    progress: Progress | None = None,
) -> Tuned:  # fmt: skip
    """A copy of the model trained towards the targets; `model` stays as it is.

    Beside the targets a few plain facts and instructions are replayed (`config.replay_weight`).

    Args:
        held_out: unseen texts; the weights that predict them best are kept. Without any, the last ones.

    Raises:
        ValueError: nothing to train on, several processes (which `timbre run` has), or a loss that diverged.
    """
    require("train", "timbre.train")
    from timbre.models.adapters import CONFIG, WEIGHTS, with_adapter
    from timbre.models.loading import autocast
    from timbre.training.adapters import save_adapter
    from timbre.training.data import Example
    from timbre.training.trainer import train as run

    config, progress, model = config or TrainingConfig(), progress or Progress(), load(model)
    if config.processes > 1:
        raise ValueError("training.processes above 1 is for `timbre run`: several processes share no memory; set it to 1")
    config = config.model_copy(update={"autocast": autocast(config.autocast)})
    examples = [Example.of_row(row) for row in targets.rows]
    seen = _held_out(held_out, model, config, targets.config.passage_tokens)
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch:
        result = run(
            copy.deepcopy(model.network), examples, config, vocab_size=model.vocab_size, held_out=seen, replay=_replay(model, config),
            scratch=Path(scratch), progress=progress,
        )  # fmt: skip
        folder = Path(scratch) / "trained"
        save_adapter(result.model, folder)
        merged = with_adapter(copy.deepcopy(model.network), folder, merged=True)
        adapter = {name: (folder / name).read_bytes() for name in (WEIGHTS, CONFIG)}
        curve = tuple(json.loads(line) for line in result.curve.read_text().splitlines())
    merged.requires_grad_(False)
    return Tuned(merged.eval(), model.tokenizer, model.vocab_size, model.context, curve, result.summary, adapter)


def generate(
    model: "Model | str | Path", prompts: Sequence[str], *, new_tokens: int = 96, samples: int = 1, sampler: SamplerConfig = SERVING,
    seed: int = 0,
) -> list[str]:  # fmt: skip
    """Continuations of exactly `new_tokens` tokens, `samples` of each prompt, prompt after prompt; without the prompts themselves.

    A text depends on its prompt, number and seed alone, not on what else is asked. Special tokens are never drawn.

    Raises:
        ValueError: a single string instead of a list, a prompt and its continuation are longer than the model reads, or there is
            nothing to continue.
    """
    require("train", "timbre.generate")
    if isinstance(prompts, str | bytes):
        raise ValueError("prompts is one string: give a list of prompts")
    for what, value in (("new_tokens", new_tokens), ("samples", samples)):
        if value < 1:
            raise ValueError(f"{what} is {value}: give at least 1")
    from timbre.inference.generation import batched, continue_prompts, every_text, forbidden_tokens, samplers, takes_positions
    from timbre.inference.prompts import Prompt, decoded
    from timbre.inference.scorer import Scorer
    from timbre.models.tokens import boundary_ids, document_ids

    model = load(model)
    requests = []
    for number, text in enumerate(prompts):
        ids = tuple(document_ids(text, model.tokenizer) or boundary_ids(model.tokenizer))
        if not ids:
            raise ValueError(f"prompt {number} is empty, and this model has no token to begin with: give a first word")
        if len(ids) + new_tokens > model.context:
            raise ValueError(
                f"prompt {number} has {len(ids)} tokens; with {new_tokens} new ones that is over {model.context}: shorten either"
            )
        requests.append(Prompt(f"{number}", f"{number}", "text", text, ids, new_tokens, samples=samples))
    scorer = Scorer(model.network, model.vocab_size)
    banned = forbidden_tokens(model.tokenizer, model.network.generation_config)
    texts: dict[tuple[str, int], str] = {}
    for group in batched(every_text(requests), _BATCH_TOKENS, padded=takes_positions(model.network)):
        written = continue_prompts(scorer, group, rules=samplers(sampler), forbidden=banned, seed=seed)
        for each, ids_T in zip(group, written.ids_BT, strict=True):
            texts[each.prompt.prompt_id, each.sample] = decoded(model.tokenizer, ids_T.tolist())
    return [texts[prompt.prompt_id, sample] for prompt in requests for sample in range(samples)]


def _from_disk(name: str, revision: str | None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    from timbre.artifacts import ArtifactStore
    from timbre.models import load_tokenizer, model_inputs, resolve_model
    from timbre.models.folder import ModelFolder, check_config
    from timbre.models.loading import device, load_folder, load_model, tokenizer_of, weights_dtype
    from timbre.settings import settings

    config = ModelConfig(name=name, revision=revision)
    given = model_inputs(config).get("folder")
    if isinstance(given, ModelFolder):
        check_config(given.path)
        network: Any = load_folder(given.path)
        network.requires_grad_(False)
        return network.to(device=device(), dtype=weights_dtype()), tokenizer_of(given.path)
    artifact = resolve_model(config, ArtifactStore(settings().home))
    return load_model(artifact), load_tokenizer(artifact)


def _checked(config: TargetConfig) -> TargetConfig:
    plain = TargetConfig()
    for name in TargetConfig.model_fields:
        if name not in (*_IN_MEMORY, "admission_tokens") and getattr(config, name) != getattr(plain, name):
            raise ValueError(f"target.{name} is not for targets in memory: leave it at {getattr(plain, name)!r}, or use `timbre run`")
    return config


def _documents(texts: Texts, split: str, seed: int) -> "list[Document]":
    """One document a text, dealt to the halves in an order drawn by `seed`."""
    from timbre.corpus.documents import Document

    if isinstance(texts, str | bytes):
        raise ValueError("texts is one string: give a list of texts")
    found = []
    for number, text in enumerate(texts):
        if not isinstance(text, str) and not (isinstance(text, Mapping) and isinstance(text.get("text"), str)):
            raise ValueError(f'number {number} of texts is a {type(text).__name__}: each is a string, or a row with one under "text"')
        found.append(text if isinstance(text, str) else str(text["text"]))
    order = np.random.default_rng(seed).permutation(len(found)).tolist()
    return [
        Document(f"text-{number:06d}", text, "", None, "memory", "", "", "", split, order[number] % _FOLDS if split == "train" else -1, 0)
        for number, text in enumerate(found)
        if text.strip()
    ]


def _reference(model: Model, passages: "Sequence[Passage]", config: TargetConfig, progress: Progress) -> Any:
    """A copy of the model with an adapter trained on these passages; the model itself where no epoch is asked for."""
    from timbre.training.data import Example
    from timbre.training.reference import reference_config
    from timbre.training.trainer import train as run

    if config.reference_epochs == 0:
        return model.network
    how = reference_config(
        config.reference_epochs, config.reference_learning_rate, config.reference_rank, config.batch_tokens, config.seed
    )  # fmt: skip
    examples = [Example.of_passage(passage) for passage in passages]
    with tempfile.TemporaryDirectory(prefix="timbre-") as scratch:
        network = copy.deepcopy(model.network)
        return run(network, examples, how, vocab_size=model.vocab_size, scratch=Path(scratch), progress=progress).model


def _held_out(texts: Texts, model: Model, config: TrainingConfig, passage_tokens: int) -> "list[Example]":
    from timbre.corpus.passages import select_passages
    from timbre.training.data import Example

    documents = _documents(texts, "validation", 0)
    if not documents:
        return []
    length = min(passage_tokens, model.context - 1)
    found = select_passages(documents, model.tokenizer, budget_tokens=config.validation_tokens, passage_tokens=length, seed=0)
    return [Example.of_passage(passage) for passage in found if passage.positions]


def _replay(model: Model, config: TrainingConfig) -> "list[Example]":
    from timbre.settings import settings
    from timbre.training.replay import encode_replay, read_replay

    if (config.replay_weight == 0 and config.base_kl_weight == 0) or config.replay_items == 0:
        return []
    names = ["replay", *(["refusals"] if config.refusals else [])]
    items = read_replay(*(settings().file(f"data/replay/{name}.jsonl") for name in names))
    return encode_replay(items, model.tokenizer, model.context)
