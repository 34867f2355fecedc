"""Building a target: choose passages, cross-fit, fit the mixture, ask for admission, then score, mix and store shard by shard.

Everything that takes time lies in the scratch folder as soon as it is done: each fold's adapter (and its checkpoints), the
admission's figures and pictures, each shard. A killed build goes on there and ends with the same bytes.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, Workspace, canonical_json, write_atomically
from timbre.config import TargetConfig
from timbre.targets import workers
from timbre.targets.admission import Admission, TargetRefused, judge
from timbre.targets.charts import pictures
from timbre.targets.fitting import FittedMixture, fit_mixture, fit_shaped, temperatures
from timbre.targets.jobs import Job
from timbre.targets.preparation import Build, Parts, prepared, read_mixture, trained_adapters, with_reference
from timbre.targets.reference import AdapterKey, given_mixture, score_base, styles_of
from timbre.targets.reference_distribution import Mixture, Shaping
from timbre.targets.scoring import Array, PassageScores
from timbre.targets.shards import in_order, part_of, shard_plan, write_store
from timbre.targets.summary import shaping_summary, summarise


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
    with ExitStack() as until:
        if workers.several():
            workers.do_all(_references(config, parts, jobs), workspace.progress, "references", until)
        adapters = trained_adapters(config, parts, workspace)
        build = with_reference(config, corpus, parts, adapters, workspace)
        admission, mixture = _admission(build)
        if workers.several():
            wanted = [number for number, place in enumerate(shard_plan(build)) if not part_of(build, mixture, number, place).exists()]
            workers.do_all([jobs("shard", number) for number in wanted], workspace.progress, "shards", until)
    store = write_store(build, mixture)
    _write_out(build, store, admission, mixture, adapters, parts.shaping)


def _references(config: TargetConfig, parts: Parts, jobs: Callable[..., Job]) -> list[Job]:
    return [jobs("reference", fold, style) for style in styles_of(config) for fold in parts.folds] if config.reference_epochs else []


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
    base = in_order(found, len(passages), progress, "admission, base model")
    if not foreign or build.config.reference_epochs == 0:
        return base, None
    return base, in_order(build.reference.score_unadapted(passages), len(passages), progress, "admission, reference un-adapted")


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
        return in_order(build.reference.score(passages, fold), len(passages), progress, f"admission, reference {fold}")
    found: dict[int, PassageScores] = {}
    for mixture in dict.fromkeys(fitted.without.values()):
        places = [place for place, passage in enumerate(passages) if fitted.without[passage.doc_id] == mixture]
        scores = build.reference.score([passages[place] for place in places], fold, mixture)
        found |= {places[place]: one for place, one in progress.track(scores, f"admission, reference {fold}", total=len(places))}
    return [found[place] for place in range(len(passages))]


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


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, canonical_json(value))
