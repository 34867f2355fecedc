"""What a target is made of, opened the same in whatever process: passages, folds, header, shaping, references."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Workspace
from timbre.config import TargetConfig
from timbre.settings import settings
from timbre.store import StoreHeader
from timbre.targets.continuations import Continuations, pooled
from timbre.targets.dataset import Dataset, count_ngrams, gather
from timbre.targets.debias import Swap, swap_of
from timbre.targets.principles import Principle, read_all, scorer_of
from timbre.targets.reference import (
    AdapterKey,
    Extras,
    Reference,
    cross_fit,
    folds_of,
    given_mixture,
    load_reference,
)
from timbre.targets.reference_distribution import Mixture, Shaping
from timbre.targets.scoring import Draws


@dataclass(frozen=True)
class Parts:
    """What is there before any reference is trained."""

    model: Artifact
    source: Artifact
    tokenizer: Any
    dataset: Dataset
    folds: tuple[int, ...]
    header: StoreHeader
    shaping: Shaping


@dataclass(frozen=True)
class Build:
    """What all steps look at."""

    config: TargetConfig
    model: Artifact
    """The student's base."""
    header: StoreHeader
    dataset: Dataset
    folds: tuple[int, ...]
    reference: Reference
    swap: Swap | None
    workspace: Workspace
    continuations: dict[int, Continuations] = field(default_factory=dict)
    """Of training passages, by place."""

    @cached_property
    def draws(self) -> Draws | None:
        return Draws(self.header.draws, self.config.seed) if self.header.draws is not None else None


def prepared(config: TargetConfig, corpus: Artifact, model: Artifact, workspace: Workspace, files: Mapping[str, Path]) -> Parts:
    """Passages, folds, header and shaping, in whatever process: the same inputs give the same.

    Raises:
        ValueError: as `assemble`.
    """
    from timbre.models import load_tokenizer, model_facts

    facts, tokenizer = model_facts(model), load_tokenizer(model)
    source = _reference_model(config, model, workspace)
    context = min(facts["context"], model_facts(source)["context"])
    dataset = gather(config, corpus, tokenizer, context)
    folds = folds_of(dataset.training)
    header = _header(config, corpus, model, source, facts, len(folds))
    header.check()
    shaping = _shaping(config, read_all(files), tokenizer, header.vocab_size, source)
    _check_room(dataset, shaping, context)
    return Parts(model, source, tokenizer, dataset, folds, header, shaping)


def trained_adapters(config: TargetConfig, parts: Parts, workspace: Workspace, only: AdapterKey | None = None) -> dict[AdapterKey, Path]:
    """The references of all styles and folds, or of one; what stands in the scratch folder is kept."""
    scratch, dataset = workspace.scratch / "reference", parts.dataset
    return cross_fit(parts.source, dataset.training, config, scratch, workspace.progress, dataset.style_of, only=only)


def with_reference(
    config: TargetConfig, corpus: Artifact, parts: Parts, adapters: Mapping[AdapterKey, Path], workspace: Workspace
) -> Build:  # fmt: skip
    """All that scoring looks at."""
    size = parts.header.vocab_size
    ngram, counted = count_ngrams(config, corpus, parts.tokenizer, size) if _wants_ngrams(config) else (None, frozenset())
    reference = Reference(parts.source, adapters, config, size, Extras(ngram, counted, parts.shaping))
    continuations = pooled(parts.dataset.training) if config.pool_continuations else {}
    return Build(config, parts.model, parts.header, parts.dataset, parts.folds, reference, parts.shaping.swap, workspace, continuations)


def read_mixture(path: Path, config: TargetConfig) -> Mixture:
    """The mixture that the admission settled on, or the one of the configuration before it did."""
    if not path.exists():
        return given_mixture(config)
    values = json.loads(path.read_bytes())
    return Mixture(values["temperature"], tuple(values["weights"]), values["ngram_weight"])


def _header(config: TargetConfig, corpus: Artifact, model: Artifact, source: Artifact, facts: Mapping[str, Any], folds: int) -> StoreHeader:
    sampled = config.coding == "sampled"
    if sampled and config.precision != "u8":
        warnings.warn(f"target.precision = {config.precision} is ignored: draws are counted, not rounded", stacklevel=2)
    return StoreHeader(
        coding=config.coding, precision=config.precision, top_k=min(config.draws, facts["vocab_size"]) if sampled else config.top_k,
        draws=config.draws if sampled else None, vocab_size=facts["vocab_size"], tokenizer_digest=facts["tokenizer_digest"],
        corpus_digest=corpus.digest, model_digest=model.digest, reference_digest=None if source is model else source.digest, folds=folds,
        temperature=config.temperature, alpha=config.alpha, seed=config.seed,
    )  # fmt: skip


def _reference_model(config: TargetConfig, model: Artifact, workspace: Workspace) -> Artifact:
    """The reference's model: the base itself, or another one with the same tokens.

    Raises:
        ValueError: another tokenizer or vocabulary; the sentence names both.
    """
    from timbre.models import model_facts, resolve_model

    if config.reference is None:
        return model
    other = resolve_model(config.reference, ArtifactStore(settings().home, workspace.progress))
    ours, theirs = model_facts(model), model_facts(other)
    if (ours["tokenizer_digest"], ours["vocab_size"]) != (theirs["tokenizer_digest"], theirs["vocab_size"]):
        raise ValueError(
            f"the reference {theirs['name']} has another tokenizer ({theirs['tokenizer_digest'][:12]}, {theirs['vocab_size']} tokens) than "
            f"the model {ours['name']} ({ours['tokenizer_digest'][:12]}, {ours['vocab_size']} tokens): choose a reference with the same one"
        )
    return other


def _wants_ngrams(config: TargetConfig) -> bool:
    return config.ngram_weight > 0 or "ngram" in config.fit


def _shaping(config: TargetConfig, principles: Mapping[str, Principle], tokenizer: Any, vocab_size: int, source: Artifact) -> Shaping:
    unadapted = cache(partial(load_reference, source))  # once, whatever the number of classifiers
    used = tuple((use.strength, scorer_of(principles[use.name], tokenizer, vocab_size, unadapted)) for use in config.principles)
    swap = swap_of(principles[config.debias], tokenizer, vocab_size) if config.debias else None
    return Shaping(config.strength, used, swap)


def _check_room(dataset: Dataset, shaping: Shaping, context: int) -> None:
    longest = max(len(passage.token_ids) for passage in (*dataset.training, *dataset.validation))
    prefix = max((len(scorer.prefix) for _, scorer in shaping.principles), default=0)
    if prefix + longest > context:
        raise ValueError(
            f"a principle of {prefix} tokens and passages of {longest} exceed the model's context of {context}: lower target.passage_tokens"
        )
