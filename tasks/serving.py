"""Champions for the server: the ledger says who, this home or MLflow has the bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact
from timbre.config import ModelConfig
from timbre.export.base import ONNX_FILE
from timbre.export.hostile import check_bundle
from timbre.registry.ledger import Ledger
from timbre.registry.signing import check_signature
from timbre.serving.champions import Champion
from timbre.settings import settings
from timbre.tasks.bases import base_of
from timbre.tasks.bundles import bundle_of
from timbre.tasks.context import open_ledger, registered_name
from timbre.tasks.quantised import weights_of
from timbre.tasks.runtimes import runtime_of

if TYPE_CHECKING:
    from timbre.serving.runtimes import Runtime


class LedgerChampions:
    """Implements `timbre.serving.champions.Champions` for one base model."""

    def __init__(self, model: ModelConfig, trusted: Path | None = None, *, precision: str = "fp32", engine: str = "onnx") -> None:
        """Where champions come from.

        Args:
            trusted: the public key that every bundle has to be signed with; None asks for no signature.
            precision: fp32, int8, int4, or auto: what a bundle's manifest names (`timbre quantise`), fp32 where none does.
            engine: what runs it: onnx, torch or genai (`timbre.serving.runtimes`).
        """
        self._model, self._trusted, self._precision, self._engine = model, trusted, precision, engine
        self._names: dict[str, str] = {}
        self._ledger: Ledger | None = None

    def champion(self, style: str) -> Champion:
        if style not in self._names:
            self._names[style] = registered_name(style, self._model)
        if self._ledger is None:
            self._ledger = open_ledger()
        name = self._names[style]
        transition = self._ledger.latest(name)
        if transition is None:
            raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one, `timbre status` shows what there is")
        return Champion(name, transition.sequence, transition.version)

    def bundle(self, style: str, champion: Champion) -> Path:
        served = bundle_of(style, self._model, champion.version)
        if served.version != champion.version:
            raise ValueError(f"{champion.model} v{champion.version} is not to be had under {settings().home}")
        if self._trusted is not None:
            check_signature(settings().home, served.artifact.digest, self._trusted)
        return served.artifact.path

    def weights(self, bundle: Artifact) -> "Path | Runtime | None":
        return weights_of(bundle, self._precision) if self._engine == "onnx" else runtime_of(bundle, self._engine, self._precision)

    def base(self, bundle: Artifact) -> Path:
        base = base_of(bundle)
        check_bundle(base, ONNX_FILE)
        return base.file(ONNX_FILE)
