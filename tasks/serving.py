"""Champions for the server: the ledger says who, this home or MLflow has the bundle."""

from pathlib import Path

from timbre.config import ModelConfig
from timbre.registry.ledger import Ledger
from timbre.serving.champions import Standing
from timbre.settings import settings
from timbre.tasks.bundles import bundle_of
from timbre.tasks.context import open_ledger, registered_name


class LedgerChampions:
    """Implements `timbre.serving.champions.Champions` for one base model."""

    def __init__(self, model: ModelConfig) -> None:
        self._model = model
        self._names: dict[str, str] = {}
        self._ledger: Ledger | None = None

    def standing(self, style: str) -> Standing:
        if style not in self._names:
            self._names[style] = registered_name(style, self._model)
        if self._ledger is None:
            self._ledger = open_ledger()
        name = self._names[style]
        move = self._ledger.latest(name)
        if move is None:
            raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one, `timbre status` shows what there is")
        return Standing(name, move.sequence, move.version)

    def bundle(self, style: str, standing: Standing) -> Path:
        served = bundle_of(style, self._model, standing.version)
        if served.version != standing.version:
            raise ValueError(f"{standing.model} v{standing.version} is not to be had under {settings().home}")
        return served.artifact.path
