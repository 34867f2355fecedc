"""lm-evaluation-harness on a registered version and on the base model that it was tuned from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact
from timbre.config import ModelConfig
from timbre.tasks.bundles import artifact_of, find_version
from timbre.tasks.context import registered_name


def run_harness(
    style: str, model: ModelConfig, number: int, data: Mapping[str, Path], *, limit: int | None = None, shots: int = 0
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Per task the shares of base and version and their paired difference, as `factuality.harness.compared` gives them.

    Raises:
        ValueError: the extra or a file is missing, no such version, or its model is not on this machine.
        FloatingPointError: a model gave NaN.
    """
    from timbre.benchmarks.harness import check, compared

    check(data, shots)
    version = find_version(registered_name(style, model), number)
    base, adapter = artifact_of(version, "model"), artifact_of(version, "adapter")
    return compared(_scored(base, None, data, limit, shots), _scored(base, adapter, data, limit, shots))


def _scored(model: Artifact, adapter: Artifact | None, data: Mapping[str, Path], limit: int | None, shots: int) -> list[dict[str, Any]]:
    from timbre.benchmarks.harness import run_tasks
    from timbre.models import load_model, load_tokenizer

    return run_tasks(load_model(model, adapter=adapter), load_tokenizer(model), data, limit=limit, shots=shots)
