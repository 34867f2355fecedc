"""Building a target: choose passages, cross-fit, fit the mixture, ask for admission, then score, mix and store shard by shard.

Everything that takes time lies in the scratch folder as soon as it is done: each fold's adapter (and its checkpoints), the
admission's figures and pictures, each shard. A killed build goes on there and ends with the same bytes.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Workspace, canonical_json, digest_json, write_atomically
from timbre.config import TargetConfig
from timbre.progress import Progress
from timbre.settings import settings
from timbre.store import StoreHeader, TargetWriter
from timbre.targets import workers
from timbre.targets.admission import Admission, TargetRefused, judge
from timbre.targets.charts import pictures
from timbre.targets.continuations import Continuations, pooled
from timbre.targets.dataset import Dataset, count_ngrams, gather
from timbre.targets.debias import Swap, swap_of
from timbre.targets.fitting import FittedMixture, fit_mixture, fit_shaped, temperatures
from timbre.targets.principles import Principle, read_all, scorer_of
from timbre.targets.reference import (
    AdapterKey,
    Extras,
    Reference,
    cross_fit,
    folds_of,
    given_mixture,
    load_reference,
    passages_to_score,
    score_base,
    styles_of,
)
from timbre.targets.reference_distribution import Mixture, Shaping
from timbre.targets.rows import counterfactual_row, target_row
from timbre.targets.scoring import Array, Draws, PassageScores, Wanted
from timbre.targets.summary import shaping_summary, summarise
from timbre.targets.workers import Job

ROWS_PER_SHARD = 64


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


def assemble(
    config: TargetConfig, corpus: Artifact, model: Artifact, workspace: Workspace, principle_files: Mapping[str, Path] | None = None
) -> None:
    """Write shards/, header.json, admission.json with its pictures and summary.json into the workspace.

    Args:
        principle_files: file of each principle that the configuration names.

    Raises:
        TargetRefused: the reference is not better than the student's base; its figures stay in the scratch folder.
        ValueError: too little text for the folds or the budget, K over the vocabulary, a reference with another tokenizer, or a
            principle that cannot be used.
    """
    files = dict(principle_files or {})
    parts = prepared(config, corpus, model, workspace, files)
    jobs = partial(Job, config.model_dump_json(), corpus.path, model.path, workspace.scratch, tuple(files.items()))
    if workers.several():
        workers.do_all(_references(config, parts, jobs), workspace.progress, "references")
    adapters = trained_adapters(config, parts, workspace)
    build = with_reference(config, corpus, parts, adapters, workspace)
    admission, mixture = _admission(build)
    if workers.several():
        wanted = [number for number, place in enumerate(shard_plan(build)) if not part_of(build, mixture, number, place).exists()]
        workers.do_all([jobs("shard", number) for number in wanted], workspace.progress, "shards")
    store = _score(build, mixture)
    _write_out(build, store, admission, mixture, adapters, parts.shaping)


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


def _references(config: TargetConfig, parts: Parts, jobs: Callable[..., Job]) -> list[Job]:
    return [jobs("reference", fold, style) for style in styles_of(config) for fold in parts.folds] if config.reference_epochs else []


def with_reference(
    config: TargetConfig, corpus: Artifact, parts: Parts, adapters: Mapping[AdapterKey, Path], workspace: Workspace
) -> Build:  # fmt: skip
    """All that scoring looks at."""
    size = parts.header.vocab_size
    ngram, counted = count_ngrams(config, corpus, parts.tokenizer, size) if _wants_ngrams(config) else (None, frozenset())
    reference = Reference(parts.source, adapters, config, size, Extras(ngram, counted, parts.shaping))
    continuations = pooled(parts.dataset.training) if config.pool_continuations else {}
    return Build(config, parts.model, parts.header, parts.dataset, parts.folds, reference, parts.shaping.swap, workspace, continuations)


def part_of(build: Build, mixture: Mixture, number: int, place: tuple[int, int, list[int]]) -> Path:
    """Where a worker leaves a shard: under the digest of what it is made of."""
    first, fold, places = place
    made_of = {
        "header": build.header.model_dump(mode="json"), "number": number, "first": first, "fold": fold, "weights": mixture.weights,
        "temperature": mixture.temperature, "ngram_weight": mixture.ngram_weight,
        "passages": [[build.dataset.training[one].doc_id, build.dataset.training[one].index] for one in places],
    }  # fmt: skip
    return build.workspace.scratch / "parts" / f"{digest_json(made_of)[:32]}.arrow"


def _write_out(
    build: Build, store: Path, admission: Admission, mixture: Mixture, adapters: Mapping[AdapterKey, Path], shaping: Shaping
) -> None:
    output = build.workspace.output
    shutil.copytree(store, output, dirs_exist_ok=True)
    for picture in sorted((build.workspace.scratch / "pictures").glob("*.svg")):
        shutil.copyfile(picture, output / f"admission-{picture.name}")
    _write_json(output / "admission.json", admission.to_json())
    summary = summarise(output, build.dataset.training, build.folds, adapters)
    _write_json(output / "summary.json", summary | shaping_summary(build.config, mixture, shaping, build.dataset, build.continuations))


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


def _admission(build: Build) -> tuple[Admission, Mixture]:
    """The admission's figures and the mixture that is stored, computed once.

    Raises:
        TargetRefused: not admitted.
    """
    scratch = build.workspace.scratch
    path, refused, fitted_path = (scratch / name for name in ("admission.json", "refused-admission.json", "mixture.json"))
    if path.exists():
        return Admission.model_validate_json(path.read_bytes()), read_mixture(fitted_path, build.config)
    passages = build.dataset.validation
    base, own = _unadapted(build)
    fitted = _fit(build) if build.config.fit else None
    by_fold = [_scores_unseen(build, fold, fitted) for fold in build.folds]
    admission = judge(passages, base, by_fold, build.dataset.training, build.dataset.source_of, fitted.fit if fitted else None, own)
    for name, picture in pictures(passages, base, by_fold).items():
        write_atomically(scratch / "pictures" / name, picture.encode())
    mixture = fitted.mixture if fitted else given_mixture(build.config)
    _write_json(fitted_path, {"temperature": mixture.temperature, "weights": mixture.weights, "ngram_weight": mixture.ngram_weight})
    _write_json(path if admission.admitted else refused, admission.to_json())
    if not admission.admitted:
        raise TargetRefused(
            f"target refused: {admission.sentence()}. {_advice(build.config)}; all figures are in {refused}, an older target stays as it is"
        )
    return admission, mixture


def _unadapted(build: Build) -> tuple[list[PassageScores], list[PassageScores] | None]:
    """Validation passages under the student's base and, where the reference was made of another model, under that one as it is."""
    passages, progress, foreign = build.dataset.validation, build.workspace.progress, build.config.reference is not None
    found = (
        score_base(build.model, build.config, build.header.vocab_size, passages) if foreign else build.reference.score_unadapted(passages)
    )
    base = _in_order(found, len(passages), progress, "admission, base model")
    if not foreign or build.config.reference_epochs == 0:
        return base, None
    return base, _in_order(build.reference.score_unadapted(passages), len(passages), progress, "admission, reference un-adapted")


def _advice(config: TargetConfig) -> str:
    moved = [
        *(["raise target.strength"] if config.strength < 1 else []),
        *(["weaken target.principles"] if config.principles else []),
    ]  # fmt: skip
    learnt = "raise target.reference_epochs or target.train_tokens, or move target.reference_learning_rate"
    if config.reference is not None and config.reference_epochs == 0:
        learnt = "choose another target.reference, or adapt it by target.reference_epochs"
    sentence = ", ".join([*moved, learnt])
    return sentence[:1].upper() + sentence[1:]


def _fit(build: Build) -> FittedMixture:
    passages, progress, grid = build.dataset.validation, build.workspace.progress, temperatures(build.config)
    documents = [passage.doc_id for passage in passages]
    if build.reference.shaped:
        return fit_shaped(lambda mixtures: _scored(build, mixtures), documents, build.config, given_mixture(build.config))
    folds = []
    for fold in build.folds:
        found = build.reference.components(passages, fold, grid)
        by_place = dict(progress.track(found, f"fitting, reference {fold}", total=len(passages)))
        folds.append([by_place[place] for place in range(len(passages))])
    return fit_mixture(folds, documents, build.config, given_mixture(build.config))


def _scored(build: Build, mixtures: Sequence[Mixture]) -> list[list[Array]]:
    """Of each fold and validation passage, log P of the observed tokens under each mixture as a target would store it."""
    passages, folds = build.dataset.validation, []
    for fold in build.folds:
        found = build.reference.observed(passages, fold, mixtures)
        by_place = dict(build.workspace.progress.track(found, f"fitting {len(mixtures)} mixtures, reference {fold}", total=len(passages)))
        folds.append([by_place[place] for place in range(len(passages))])
    return folds


def _scores_unseen(build: Build, fold: int, fitted: FittedMixture | None) -> list[PassageScores]:
    """Validation passages under the reference distribution; where it was fitted, each under numbers that its document had no part in."""
    passages, progress = build.dataset.validation, build.workspace.progress
    if fitted is None:
        return _in_order(build.reference.score(passages, fold), len(passages), progress, f"admission, reference {fold}")
    found: dict[int, PassageScores] = {}
    for mixture in dict.fromkeys(fitted.without.values()):
        places = [place for place, passage in enumerate(passages) if fitted.without[passage.doc_id] == mixture]
        scores = build.reference.score([passages[place] for place in places], fold, mixture)
        found |= {places[place]: one for place, one in progress.track(scores, f"admission, reference {fold}", total=len(places))}
    return [found[place] for place in range(len(passages))]


def _score(build: Build, mixture: Mixture) -> Path:
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


def write_shard(build: Build, mixture: Mixture, fold: int, places: Sequence[int], writer: TargetWriter) -> None:
    """Score, mix and store the passages of one shard."""
    passages = [build.dataset.training[place] for place in places]
    also = {row: build.continuations[place].ids_NM for row, place in enumerate(places) if place in build.continuations}
    wanted = Wanted(min(build.config.top_k, build.header.vocab_size), build.draws, also)
    scores = _in_order(
        build.reference.score(passages, fold, mixture, wanted), len(passages), build.workspace.progress, f"scoring fold {fold}"
    )
    for place, passage, scored in zip(places, passages, scores, strict=True):
        eta = build.reference.ngram_weights(passage, mixture)
        row = target_row(passage, scored, build.config.alpha, build.continuations.get(place), build.draws, build.header.vocab_size, eta)
        writer.append(row)
        if build.swap is not None and build.swap.changes(passage):
            writer.append(counterfactual_row(row, build.swap))
    writer.cut()


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


def _in_order(scores: Iterator[tuple[int, PassageScores]], count: int, progress: Progress, what: str) -> list[PassageScores]:
    found = dict(progress.track(scores, what, total=count))
    return [found[place] for place in range(count)]


def read_mixture(path: Path, config: TargetConfig) -> Mixture:
    """The mixture that the admission settled on, or the one of the configuration before it did."""
    import json

    if not path.exists():
        return given_mixture(config)
    values = json.loads(path.read_bytes())
    return Mixture(values["temperature"], tuple(values["weights"]), values["ngram_weight"])


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, canonical_json(value))
