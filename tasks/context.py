"""What stands in this home: artifacts, ledger, and the name of a style's registered model. Loads neither Prefect nor MLflow.

`timbre status`, `history`, `promote`, `rollback` and `generate` need no more than this and MLflow.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig
from timbre.registry.ledger import Judged, Ledger, Transition
from timbre.registry.ports import is_of_style, model_name
from timbre.settings import settings


def open_store() -> ArtifactStore:
    """The artifacts of this home."""
    return ArtifactStore(settings().home)


def open_ledger() -> Ledger:
    """The ledger of this home."""
    settings().home.mkdir(parents=True, exist_ok=True)
    return Ledger(settings().ledger)


def transitions_of(style: str | None = None) -> list[Transition]:
    """The ledger, oldest first; of one style, on whatever base, if given."""
    with closing(open_ledger()) as ledger:
        return [transition for transition in ledger.transitions() if style is None or is_of_style(transition.model, style)]


def verdicts_of(style: str | None = None) -> list[tuple[Judged, datetime]]:
    """Every verdict in the ledger, oldest first; of one style, on whatever base, if given."""
    with closing(open_ledger()) as ledger:
        return [item for item in ledger.verdicts() if style is None or is_of_style(item[0].model, style)]


def record_verdict(style: str, model: ModelConfig, verdict: Artifact) -> None:
    """Write a verdict into the ledger, whatever it says."""
    from timbre.registry.promotion import judged_of

    with closing(open_ledger()) as ledger:
        ledger.record(judged_of(registered_name(style, model), verdict))


def latest_transition(name: str) -> Transition | None:
    """The move that made a registered model's champion; None if it never had one."""
    with closing(open_ledger()) as ledger:
        return ledger.latest(name)


@contextmanager
def publishing() -> Iterator[Ledger]:
    """The ledger, for whoever moves aliases: a run, a worker and a person at the command line take turns in this home."""
    from filelock import FileLock

    settings().home.mkdir(parents=True, exist_ok=True)
    with FileLock(settings().home / "publish.lock"), closing(open_ledger()) as ledger:
        yield ledger


def registered_name(style: str, model: ModelConfig) -> str:
    """The registered model of a style on this base.

    Raises:
        ValueError: no such style, or no such base model.
    """
    from timbre.models import base_name

    known_style(style)
    return model_name(style, base_name(model))


def known_style(style: str) -> None:
    """A style is known by its preset, or by what was promoted when it still had one.

    Raises:
        ValueError: neither; the sentence lists the styles.
    """
    from timbre.corpus.sources import find_style, style_paths

    if style not in style_paths() and not transitions_of(style):
        find_style(style)


def base_of(model: ModelConfig) -> str:
    """How tags and parameters name a base: never by the path of a folder."""
    from timbre.models import base_name

    return base_name(model) or model.name
