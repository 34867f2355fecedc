"""The cross-fitted reference: one adapter a fold, and every document scored only by the adapter that never saw it.

An adapter that has seen a document recites it, and the target collapses onto the observed tokens (docs/adr/0005-cross-fitting.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.config import TargetConfig
from timbre.corpus.passages import Passage
from timbre.progress import Progress
from timbre.settings import settings
from timbre.targets.fitting import Components
from timbre.targets.ngram import Factored, NgramModel
from timbre.targets.reference_distribution import Mixture, ReferenceDistribution, Shaping
from timbre.targets.scoring import Array, NextToken, PassageScores, PlainModel, Wanted, batches_by_length, normalised, score_with

AdapterKey = tuple[str, int]
"""Style ('' where there is one only) and fold."""


def folds_of(passages: Sequence[Passage], style: str = "") -> tuple[int, ...]:
    """The folds 0..K−1 of the training passages.

    Raises:
        ValueError: fewer than two folds have passages, so that nobody could score one of them without having seen it.
    """
    folds = sorted({passage.fold for passage in passages})
    if len(folds) < 2 or folds[0] < 0:
        whose = f" of {style}" if style else ""
        raise ValueError(
            f"the reference is cross-fitted over at least 2 folds, the training passages{whose} lie in {len(folds)}: "
            "give the corpus more documents, or raise target.train_tokens"
        )
    return tuple(folds)


def passages_to_learn(passages: Sequence[Passage], fold: int) -> list[Passage]:
    """What the adapter of `fold` is trained on: every passage outside it."""
    return [passage for passage in passages if passage.fold != fold]


def passages_to_score(passages: Sequence[Passage], fold: int) -> list[Passage]:
    """What the adapter of `fold` scores: the passages it has never seen."""
    return [passage for passage in passages if passage.fold == fold]


def cross_fit(
    model: Artifact, passages: Sequence[Passage], config: TargetConfig, scratch: Path, progress: Progress,
    style_of: Mapping[str, str] | None = None, *, only: AdapterKey | None = None,
) -> dict[AdapterKey, Path]:  # fmt: skip
    """Train one adapter a style and fold on that style's passages outside the fold; folder of each adapter.

    No epochs mean no adapters: the reference is the model itself. Finished adapters in `scratch` are kept, an unfinished one
    goes on where it stopped.

    Args:
        style_of: style of each document; None where there is one style.
        only: train this one and no other.
    """
    from timbre.training.reference import train_on_passages

    if config.reference_epochs == 0:
        return {}
    adapters = {}
    for style in styles_of(config):
        own = [passage for passage in passages if not style or (style_of or {})[passage.doc_id] == style]
        folds_of(own, style)
        for fold in folds_of(passages):
            if only not in (None, (style, fold)):
                continue
            adapters[style, fold] = train_on_passages(
                model, passages_to_learn(own, fold), epochs=config.reference_epochs, learning_rate=config.reference_learning_rate,
                rank=config.reference_rank, batch_tokens=config.batch_tokens, seed=config.seed, scratch=scratch / _name(style, fold),
                progress=progress,
            )  # fmt: skip
    return adapters


def styles_of(config: TargetConfig) -> tuple[str, ...]:
    """The styles that have a reference each; one without a name where nothing is blended."""
    return tuple(part.style for part in config.blend) or ("",)


def given_mixture(config: TargetConfig) -> Mixture:
    """The mixture as the configuration gives it."""
    return Mixture(config.temperature, tuple(part.weight for part in config.blend) or (1.0,), config.ngram_weight)


def load_reference(model: Artifact) -> Any:
    """The reference's model as it is, without an adapter."""
    import torch

    from timbre.models import load_model

    torch.set_num_threads(settings().threads)  # sums in another order are other bytes
    return load_model(model)


def score_base(model: Artifact, config: TargetConfig, vocab_size: int, passages: Sequence[Passage]) -> Iterator[tuple[int, PassageScores]]:
    """Scores of a model as it is, at temperature 1; it is loaded for this alone."""
    source = PlainModel(load_reference(model), 1.0, vocab_size)
    yield from score_with(source, passages, Wanted(min(config.top_k, vocab_size)), config.batch_tokens)


@dataclass(frozen=True, eq=False)
class Extras:
    """What the reference distribution has beside the references."""

    ngram: NgramModel | None = None
    counted: frozenset[str] = frozenset()
    shaping: Shaping = field(default_factory=Shaping)


class Reference:
    """The reference's model in memory with all adapters beside it."""

    def __init__(
        self, model: Artifact, adapters: Mapping[AdapterKey, Path], config: TargetConfig, vocab_size: int, extras: Extras | None = None
    ) -> None:
        self._config = config
        self._vocab_size = vocab_size
        self._wanted = Wanted(min(config.top_k, vocab_size))  # draws need no K, and may come from a vocabulary below it
        self._adapters = tuple(adapters)
        self._extras = extras or Extras()
        self._network: Any = load_reference(model)
        if adapters:
            from peft import PeftModel

            (first, folder), *others = adapters.items()
            self._network = PeftModel.from_pretrained(self._network, str(folder), adapter_name=_name(*first))
            for key, folder in others:
                self._network.load_adapter(str(folder), adapter_name=_name(*key))
            self._network.eval()

    def score(
        self, passages: Sequence[Passage], fold: int, mixture: Mixture | None = None, wanted: Wanted | None = None
    ) -> Iterator[tuple[int, PassageScores]]:
        """Scores of the whole reference distribution under the adapters of `fold`, with the configured mixture unless another is given."""
        source = self._source(fold, mixture or given_mixture(self._config))
        yield from score_with(source, passages, wanted or self._wanted, self._config.batch_tokens)

    def score_unadapted(self, passages: Sequence[Passage]) -> Iterator[tuple[int, PassageScores]]:
        """Scores of the reference's model as it is, at temperature 1."""
        with self._network.disable_adapter() if self._adapters else nullcontext():
            source = PlainModel(self._network, 1.0, self._vocab_size)
            yield from score_with(source, passages, self._wanted, self._config.batch_tokens)

    def components(self, passages: Sequence[Passage], fold: int, temperatures: Sequence[float]) -> Iterator[tuple[int, Components]]:
        """What each part of the mixture gives the observed tokens, at each temperature: what fitting needs."""
        import torch

        distribution = self._distribution(fold, given_mixture(self._config), Shaping())
        for batch in batches_by_length(passages, self._config.batch_tokens):
            chosen = [passages[place] for place in batch]
            lengths = [len(passage.token_ids) - passage.first_label for passage in chosen]
            observed_N = torch.from_numpy(np.concatenate([passage.token_ids[passage.first_label :] for passage in chosen]).astype(np.int64))
            columns, start = [], 0
            for parts in distribution.parts(chosen):
                observed_n = observed_N[start : start + len(parts.logits[0])]
                observed_n1 = observed_n.to(parts.logits[0].device).unsqueeze(-1)
                start += len(observed_n1)
                log_p = [
                    torch.stack([normalised(logits_nV / t).gather(-1, observed_n1)[:, 0] for t in temperatures])
                    for logits_nV in parts.logits
                ]
                columns.append((torch.stack(log_p, dim=1).double().exp().cpu().numpy(), *_ngram_columns(parts.ngram, observed_n.numpy())))
            refs_GSN, ngram_N, confidence_N = (np.concatenate(part, axis=-1) for part in zip(*columns, strict=True))
            for place, (first, last) in zip(batch, pairwise(np.cumsum([0, *lengths])), strict=True):
                here = slice(first, last)
                yield place, Components(refs_GSN[..., here], ngram_N[here], confidence_N[here])

    @property
    def shaped(self) -> bool:
        """Whether something comes after the mixture: strength, principles or swaps."""
        return self._extras.shaping != Shaping()

    def observed(self, passages: Sequence[Passage], fold: int, mixtures: Sequence[Mixture]) -> Iterator[tuple[int, Array]]:
        """log of what the whole reference distribution, shaping included, gives the observed tokens under each mixture, M×N."""
        distribution = self._distribution(fold, mixtures[0], self._extras.shaping)
        for batch in batches_by_length(passages, self._config.batch_tokens):
            chosen = [passages[place] for place in batch]
            found_MN = distribution.observed(chosen, mixtures)
            lengths = [len(passage.token_ids) - passage.first_label for passage in chosen]
            for place, (first, last) in zip(batch, pairwise(np.cumsum([0, *lengths])), strict=True):
                yield place, found_MN[:, first:last]

    def ngram_weights(self, passage: Passage, mixture: Mixture) -> Array | None:
        """η_t at each position, or None without n-grams."""
        if self._extras.ngram is None or mixture.ngram_weight == 0:
            return None
        distribution = self._distribution(0, mixture, Shaping(), adapted=False)
        return mixture.ngram_weight * distribution.confidences([passage])[0]

    def _source(self, fold: int, mixture: Mixture) -> NextToken:
        without_ngrams = self._extras.ngram is None or mixture.ngram_weight == 0
        if len(mixture.weights) == 1 and without_ngrams and self._extras.shaping == Shaping():
            if self._adapters:
                self._network.set_adapter(_name("", fold))
            return PlainModel(self._network, mixture.temperature, self._vocab_size)
        return self._distribution(fold, mixture, self._extras.shaping)

    def _distribution(self, fold: int, mixture: Mixture, shaping: Shaping, *, adapted: bool = True) -> ReferenceDistribution:
        names = tuple(_name(style, number) for style, number in self._adapters if number == fold) if adapted else ()
        return ReferenceDistribution(self._network, self._vocab_size, names, mixture, shaping, self._extras.ngram, self._extras.counted)


def _ngram_columns(parts: Sequence[Factored], observed_n: Array) -> tuple[Array, Array]:
    """P_ngram of the observed tokens and its confidence; zeros without n-grams."""
    if not parts:
        return np.zeros(len(observed_n)), np.zeros(len(observed_n))
    bounds = np.cumsum([0, *(len(part) for part in parts)])
    found = [part.probabilities(observed_n[first:last]) for part, (first, last) in zip(parts, pairwise(bounds), strict=True)]
    return np.concatenate(found), np.concatenate([part.confidence_n for part in parts])


def _name(style: str, fold: int) -> str:
    return f"{style}-fold-{fold}" if style else f"fold-{fold}"
