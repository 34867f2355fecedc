"""Timbre: make a language model write the way a body of human writing is written (Distribution Fine-Tuning).

The rooms, ground floor first; a module imports only from those listed above its own:

    settings, config        where things are on this machine; what one run is asked to do
    precision               in which numbers models run here
    budget                  how long a run may take
    progress, artifacts     telling a person how far we are; directories that exist whole or not at all, and those that machines share
    statistics, tabular     paired, clustered intervals; files of rows
    page                    what all pages share; a room's own page is its `page.py`
    packages, models        verified downloads; the base model
    corpus                  text in, documents out
    store, objectives       sparse target distributions; divergences
    training, targets       adapters; the distributions they are trained towards
    inference               what talks to a loaded model: scoring, drawing, prompts
    metrics                 texts in, figures out
    sequence                whole completions, weighted to read as human text does
    evaluation              likelihood, probes, bias, factuality, memorisation of a model
    benchmarks, judging     public test sets; which of two texts judges and people prefer
    export, gates           ONNX bundles; verdicts
    registry, serving       champions and their history; text for applications
    monitoring              what is served and handed in, beside its release
    pipeline                the steps of a release, declared once; finding, building and planning them
    api                     Distribution Fine-Tuning with plain values, for programs and notebooks
    tasks, flows, cli       Prefect tasks and the stores behind the ports; the main job; the command

The last three stand at the top of the repository; here are links to them, so that one package holds everything.

What `timbre.api` offers is to be had from here as well, and so are the rooms (`timbre.metrics.compare`): each is imported when it is
first asked for, so that `import timbre` loads nothing that weighs anything.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timbre import metrics
    from timbre.api import Model, Targets, Tuned, generate, load, loss, make_targets, train
    from timbre.config import SamplerConfig, TargetConfig, TrainingConfig

__version__ = "0.2.0"

__all__ = [
    "Model",
    "SamplerConfig",
    "TargetConfig",
    "Targets",
    "TrainingConfig",
    "Tuned",
    "generate",
    "load",
    "loss",
    "make_targets",
    "metrics",
    "train",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "metrics":
        return import_module("timbre.metrics")
    if name in __all__:
        return getattr(import_module("timbre.config" if name.endswith("Config") else "timbre.api"), name)
    raise AttributeError(f"module 'timbre' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
