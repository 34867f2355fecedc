"""The stage "decoder": the graph of an architecture, traced once a base model and filled with weights at each export.

model.onnx      the decoder with its cache; every weight points into a data file that is not there yet
weights.json    the structure of the model, and its weights in file order: name, shape, transposed or not, offset
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, write_atomically
from timbre.config import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS_FILE = "weights.json"


def _build(config: ModelConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.decoder import trace_decoder
    from timbre.export.merge import merged_model
    from timbre.export.weights import structure_of, weights_of

    model = inputs["model"]
    assert isinstance(model, Artifact)
    work = workspace.progress.track(("load", "trace"), f"trace {config.name}")
    next(work)
    base = merged_model(model)
    next(work)
    slots = trace_decoder(base, workspace.output)
    layout = {"structure": structure_of(weights_of(base)), "slots": [slot.model_dump(mode="json") for slot in slots]}
    write_atomically(workspace.output / WEIGHTS_FILE, json.dumps(layout, indent=1).encode() + b"\n")
    next(work, None)


STAGE: Stage[ModelConfig] = Stage("decoder", 1, _build)


def resolve_decoder(config: ModelConfig, model: Artifact, store: ArtifactStore) -> Artifact:
    """The traced decoder of a base model: found, or built.

    Raises:
        ValueError: the model is of an architecture that cannot be exported.
    """
    from timbre.models import canonical

    return store.build(STAGE, canonical(config), {"model": model})


def write_decoder(decoder: Artifact, merged: "PreTrainedModel", folder: Path) -> None:
    """The graph with the weights of `merged` into `folder`.

    An adapter that changes the structure (a corrected head has a bias, and is no longer tied to the embedding) needs a graph
    of its own, and is traced here.
    """
    from timbre.export.decoder import MODEL_FILE, trace_decoder
    from timbre.export.weights import DATA_FILE, Slot, structure_of, weights_of, write_weights

    layout, weights = decoder.json(WEIGHTS_FILE), weights_of(merged)
    if layout["structure"] == structure_of(weights):
        shutil.copyfile(decoder.file(MODEL_FILE), folder / MODEL_FILE)
        slots = [Slot.model_validate(row) for row in layout["slots"]]
    else:
        slots = trace_decoder(merged, folder)
    write_weights(slots, weights, folder / DATA_FILE)
