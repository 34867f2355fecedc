"""The cross-fitted reference: one adapter a fold, and every document scored only by the adapter that never saw it.

An adapter that has seen a document recites it, and the target collapses onto the observed tokens; see SCIENCE §1.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact
from timbre.config import TargetConfig
from timbre.corpus.passages import Passage
from timbre.progress import Progress
from timbre.settings import settings
from timbre.targets.scoring import PassageScores, score_passages


def folds_of(passages: Sequence[Passage]) -> tuple[int, ...]:
    """The folds 0..K−1 of the training passages.

    Raises:
        ValueError: fewer than two folds have passages, so that nobody could score one of them without having seen it.
    """
    folds = sorted({passage.fold for passage in passages})
    if len(folds) < 2 or folds[0] < 0:
        raise ValueError(
            f"the reference is cross-fitted over at least 2 folds, the training passages lie in {len(folds)}: "
            "give the corpus more documents, or raise target.train_tokens"
        )
    return tuple(folds)


def passages_to_learn(passages: Sequence[Passage], fold: int) -> list[Passage]:
    """What the adapter of `fold` is trained on: every passage outside it."""
    return [passage for passage in passages if passage.fold != fold]


def passages_to_score(passages: Sequence[Passage], fold: int) -> list[Passage]:
    """What the adapter of `fold` scores: the passages it has never seen."""
    return [passage for passage in passages if passage.fold == fold]


def cross_fit(model: Artifact, passages: Sequence[Passage], config: TargetConfig, scratch: Path, progress: Progress) -> dict[int, Path]:
    """Train one adapter a fold on the passages outside it; folder of each adapter by fold.

    No epochs mean no adapters: the reference is the base model itself. Finished adapters in `scratch` are kept, an unfinished
    one goes on where it stopped.
    """
    from timbre.training.reference import train_on_passages

    if config.reference_epochs == 0:
        return {}
    return {
        fold: train_on_passages(
            model, passages_to_learn(passages, fold), epochs=config.reference_epochs, learning_rate=config.reference_learning_rate,
            rank=config.reference_rank, batch_tokens=config.batch_tokens, seed=config.seed, scratch=scratch / f"fold-{fold}",
            progress=progress,
        )
        for fold in folds_of(passages)
    }  # fmt: skip


class Reference:
    """The base model in memory with the adapters of all folds beside it."""

    def __init__(self, model: Artifact, adapters: Mapping[int, Path], config: TargetConfig, vocab_size: int) -> None:
        import torch

        from timbre.models import load_model

        torch.set_num_threads(settings().threads)  # sums in another order are other bytes
        self._config = config
        self._vocab_size = vocab_size
        self._adapters = tuple(adapters)
        self._network: Any = load_model(model)
        if adapters:
            from peft import PeftModel

            (first, folder), *others = adapters.items()
            self._network = PeftModel.from_pretrained(self._network, str(folder), adapter_name=_name(first))
            for fold, folder in others:
                self._network.load_adapter(str(folder), adapter_name=_name(fold))
            self._network.eval()

    def score(self, passages: Sequence[Passage], fold: int) -> Iterator[tuple[int, PassageScores]]:
        """Scores under the adapter of `fold`, at the configured temperature; see `score_passages`."""
        if self._adapters:
            self._network.set_adapter(_name(fold))
        yield from self._scores(passages, self._config.temperature)

    def score_unadapted(self, passages: Sequence[Passage]) -> Iterator[tuple[int, PassageScores]]:
        """Scores of the base model as it is, at temperature 1."""
        with self._network.disable_adapter() if self._adapters else nullcontext():
            yield from self._scores(passages, 1.0)

    def _scores(self, passages: Sequence[Passage], temperature: float) -> Iterator[tuple[int, PassageScores]]:
        return score_passages(
            self._network, passages, top_k=self._config.top_k, temperature=temperature,
            batch_tokens=self._config.batch_tokens, vocab_size=self._vocab_size,
        )  # fmt: skip


def _name(fold: int) -> str:
    return f"fold-{fold}"
