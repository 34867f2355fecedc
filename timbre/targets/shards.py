"""Shards of a target's store: which passages each holds, what it is named by, and how it is scored, mixed and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from timbre.artifacts import digest_json
from timbre.progress import Progress
from timbre.store import TargetWriter
from timbre.targets.preparation import Build
from timbre.targets.reference import (
    passages_to_score,
)
from timbre.targets.reference_distribution import Mixture
from timbre.targets.rows import counterfactual_row, target_row
from timbre.targets.scoring import PassageScores, Wanted

ROWS_PER_SHARD = 64


def part_of(build: Build, mixture: Mixture, number: int, place: tuple[int, int, list[int]]) -> Path:
    """Where a worker leaves a shard: under the digest of what it is made of."""
    first, fold, places = place
    made_of = {
        "header": build.header.model_dump(mode="json"), "number": number, "first": first, "fold": fold, "weights": mixture.weights,
        "temperature": mixture.temperature, "ngram_weight": mixture.ngram_weight,
        "passages": [[build.dataset.training[one].doc_id, build.dataset.training[one].index] for one in places],
    }  # fmt: skip
    return build.workspace.scratch / "parts" / f"{digest_json(made_of)[:32]}.arrow"


def shard_plan(build: Build) -> Iterator[tuple[int, int, list[int]]]:
    """(number of the first row, fold, places of the passages) of each shard: no shard mixes folds, so that none mixes adapters."""
    training, first = build.dataset.training, 0
    place_of = {id(passage): place for place, passage in enumerate(training)}
    for fold in build.folds:
        shard: list[int] = []
        rows = 0
        for passage in passages_to_score(training, fold):
            size = 2 if build.swap is not None and build.swap.changes(passage) else 1
            if rows + size > ROWS_PER_SHARD:
                yield first, fold, shard
                first, shard, rows = first + rows, [], 0
            shard.append(place_of[id(passage)])
            rows += size
        if shard:
            yield first, fold, shard
            first += rows


def write_shard(build: Build, mixture: Mixture, fold: int, places: Sequence[int], writer: TargetWriter) -> None:
    """Score, mix and store the passages of one shard."""
    passages = [build.dataset.training[place] for place in places]
    also = {row: build.continuations[place].ids_NM for row, place in enumerate(places) if place in build.continuations}
    wanted = Wanted(min(build.config.top_k, build.header.vocab_size), build.draws, also)
    scores = in_order(
        build.reference.score(passages, fold, mixture, wanted), len(passages), build.workspace.progress, f"scoring fold {fold}"
    )
    for place, passage, scored in zip(places, passages, scores, strict=True):
        eta = build.reference.ngram_weights(passage, mixture)
        row = target_row(passage, scored, build.config.alpha, build.continuations.get(place), build.draws, build.header.vocab_size, eta)
        writer.append(row)
        if build.swap is not None and build.swap.changes(passage):
            writer.append(counterfactual_row(row, build.swap))
    writer.cut()


def in_order(scores: Iterator[tuple[int, PassageScores]], count: int, progress: Progress, what: str) -> list[PassageScores]:
    """Scores that come in any order, a passage each, in the order of the passages; told as progress."""
    found = dict(progress.track(scores, what, total=count))
    return [found[place] for place in range(count)]


def write_store(build: Build, mixture: Mixture) -> Path:
    """Score, mix and store every training passage, a shard at a time; the finished store's folder."""
    folder, progress = build.workspace.scratch / "store", build.workspace.progress
    if not (folder / "header.json").exists():
        header = build.header.model_copy(update={"temperature": mixture.temperature})
        with TargetWriter(folder, header, ROWS_PER_SHARD) as writer:
            plan = list(shard_plan(build))
            for number, (first, fold, places) in enumerate(progress.track(plan, "target shards")):
                if first >= writer.rows_done:
                    part = part_of(build, mixture, number, (first, fold, places))
                    if not writer.adopt(part):
                        write_shard(build, mixture, fold, places, writer)
    return folder
