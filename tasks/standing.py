"""What stands in this home: artifacts, ledger, and the name of a style's registered model. Loads neither Prefect nor MLflow.

`timbre status`, `history`, `promote`, `rollback` and `generate` need no more than this and MLflow.
"""

from timbre.artifacts import ArtifactStore
from timbre.config import ModelConfig
from timbre.registry.ledger import Ledger
from timbre.registry.ports import model_name
from timbre.settings import settings


def open_store() -> ArtifactStore:
    """The artifacts of this home."""
    return ArtifactStore(settings().home)


def open_ledger() -> Ledger:
    """The ledger of this home."""
    settings().home.mkdir(parents=True, exist_ok=True)
    return Ledger(settings().ledger)


def registered_name(style: str, model: ModelConfig) -> str:
    """The registered model of a style on this base.

    Raises:
        ValueError: no such base model.
    """
    from timbre.models import base_name

    return model_name(style, base_name(model))
