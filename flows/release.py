"""The main job: from raw text to a promoted, exported model.

    timbre run --style literary --profile quick       the whole road, in minutes on a laptop
    timbre run --style literary --dry-run             what it would do, and how long that takes

Scheduled through `prefect.yaml`; there as here, a stage that stands in the artifact store shows as `Cached`.
"""

from prefect import flow

from timbre.config import Frozen, ReleaseConfig
from timbre.settings import settings
from timbre.tasks.corpus import build_corpus
from timbre.tasks.data import data_tags
from timbre.tasks.evaluation import (
    ask,
    calibrate,
    evaluate,
    evaluate_base,
    evaluate_baseline,
    recite_base,
    write,
    write_base,
    write_baseline,
)
from timbre.tasks.export import export, trace
from timbre.tasks.gates import judge
from timbre.tasks.model import resolve_model
from timbre.tasks.release import Released, release
from timbre.tasks.runs import only_run
from timbre.tasks.stage import Built
from timbre.tasks.target import build_target
from timbre.tasks.training import train, train_baseline


class Outcome(Frozen):
    """A finished road: every step's artifact, and what became of the candidate."""

    steps: dict[str, Built]
    released: Released


@flow(name="release", flow_run_name="release-{config.style}-{config.profile}", persist_result=False)
def release_flow(config: ReleaseConfig) -> Outcome:
    """Corpus, target, adapter, evaluation, bundle, verdict, release.

    Raises:
        ValueError: another run of this home goes on; the sentence names its process.
    """
    with only_run(settings().home):
        return _walk(config)


def _walk(config: ReleaseConfig) -> Outcome:
    model = resolve_model(config)
    corpus = build_corpus(config)
    target = build_target(config, corpus, model)
    adapter = train(config, model, corpus, target)
    prompts = ask(config, model, corpus)
    calibration = (calibrate(config, model, corpus),) if config.evaluation.score else ()
    read = (model, corpus, target, prompts, *calibration)
    base_generations = write_base(config, model, corpus, prompts)
    base_recitations = recite_base(config, model, corpus, target)
    base_evaluation = evaluate_base(config, read, base_generations, base_recitations)
    generations = write(config, model, corpus, target, prompts, adapter)
    evaluation = evaluate(config, read, adapter, generations)
    baseline = _baseline(config, read) if config.baseline.objective is not None else ()
    decoder = trace(config, model)
    bundle = export(config, model, corpus, adapter, decoder)
    verdict = judge(config, target, corpus, adapter, bundle, base_evaluation, evaluation, *baseline)

    measured = (base_generations, base_recitations, base_evaluation, generations, evaluation, *baseline)
    steps = {built.step: built for built in (model, corpus, target, adapter, prompts, *calibration, *measured, decoder, bundle, verdict)}
    return Outcome(steps=steps, released=release(config, steps, data_tags(config, corpus, target)))


def _baseline(config: ReleaseConfig, read: tuple[Built, ...]) -> tuple[Built, Built, Built]:
    """Adapter, generations and evaluation of the plain student that the report sets beside the candidate."""
    model, corpus, target, prompts, *_ = read
    adapter = train_baseline(config, model, corpus, target)
    generations = write_baseline(config, model, corpus, target, prompts, adapter)
    return adapter, generations, evaluate_baseline(config, read, adapter, generations)
