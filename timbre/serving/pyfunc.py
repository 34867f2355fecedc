"""A registered version as an MLflow model: `mlflow.pyfunc.load_model("models:/timbre-literary@champion").predict(["It was"])`.

MLflow finds this module by its name in the version's `MLmodel` and gives it the bundle's folder; nothing is pickled. Needs what
serving needs: tokenizers, ONNX Runtime and numpy, no torch. `mlflow models serve -m models:/… --env-manager local` serves it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timbre.serving.engine import Engine

COLUMN = "prompt"
PARAMETERS: Mapping[str, tuple[str, Any]] = {"max_new_tokens": ("long", 128), "seed": ("long", 0)}
"""Name -> (type, default) of what a caller may set beside the prompts; the sampler is the one that the version was judged with."""


class Continuations:
    """Prompts in, continuations out."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[str]:
        """The continuation of each prompt, without the prompt; the same prompt, parameters and version give the same text.

        Args:
            model_input: a text, texts, or a table of one column, or with a column `prompt`.
            params: max_new_tokens, seed.

        Raises:
            ValueError: no such column, or a prompt that cannot be continued.
        """
        filled = {name: default for name, (_, default) in PARAMETERS.items()} | dict(params or {})
        if unknown := sorted(filled.keys() - PARAMETERS.keys()):
            raise ValueError(f"unknown parameter {unknown[0]!r}: known are {', '.join(PARAMETERS)}")
        tokens, seed = int(filled["max_new_tokens"]), int(filled["seed"])
        return ["".join(self._engine.stream(prompt, max_new_tokens=tokens, seed=seed)) for prompt in _prompts(model_input)]


def _prompts(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    if hasattr(given, "columns") or isinstance(given, Mapping):
        columns = list(given.columns if hasattr(given, "columns") else given)
        if COLUMN not in columns and len(columns) != 1:
            raise ValueError(f"prompts are expected in a column {COLUMN!r}, found {', '.join(map(str, columns)) or 'none'}")
        given = given[COLUMN if COLUMN in columns else columns[0]]
    return [text for one in ([given] if isinstance(given, str) else given) for text in ([one] if isinstance(one, str) else _prompts(one))]


def _load_pyfunc(path: str) -> Continuations:
    """What MLflow calls with the folder of the bundle.

    Raises:
        IntegrityError: a file of it is not what its manifest says.
    """
    from timbre.serving.engine import Engine

    return Continuations(Engine.open(Path(path)))
