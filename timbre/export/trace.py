"""The stage "decoder": the graph of an architecture, traced once a base model and filled with weights at each export.

model.onnx      the decoder with its cache; every weight points into a data file that is not there yet
weights.json    the weights in file order: name, shape, transposed or not, offset
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, write_atomically
from timbre.config import ModelConfig

if TYPE_CHECKING:
    from timbre.export.weights import Slot

WEIGHTS_FILE = "weights.json"


def _build(config: ModelConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.decoder import trace_decoder
    from timbre.export.merge import merged_model

    model = inputs["model"]
    assert isinstance(model, Artifact)
    work = workspace.progress.track(("load", "trace"), f"trace {config.name}")
    next(work)
    base = merged_model(model)
    next(work)
    slots = trace_decoder(base, workspace.output)
    rows = [slot.model_dump(mode="json") for slot in slots]
    write_atomically(workspace.output / WEIGHTS_FILE, json.dumps(rows, indent=1).encode() + b"\n")
    next(work, None)


STAGE: Stage[ModelConfig] = Stage("decoder", 1, _build)


def resolve_decoder(config: ModelConfig, model: Artifact, store: ArtifactStore) -> Artifact:
    """The traced decoder of a base model: found, or built.

    Raises:
        ValueError: the model is of an architecture that cannot be exported.
    """
    return store.build(STAGE, config, {"model": model})


def read_slots(decoder: Artifact) -> "list[Slot]":
    """Where the weights of a traced decoder go, in file order."""
    from timbre.export.weights import Slot

    return [Slot.model_validate(row) for row in decoder.json(WEIGHTS_FILE)]
