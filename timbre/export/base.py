"""The stage "base": the untuned model as a decoder of its own, for whoever mixes it with a tuned one while writing.

Given an adapter too, it is the model with that adapter merged in: the baseline that stands beside a version.

model.onnx, model.onnx.data   the traced graph (timbre.export.trace) with the base's own weights
serving.onnx                  the same on the same weights, its cache in place (timbre.export.inplace); where the architecture allows it

It is built once a base model, where it is first asked for, and serves every bundle that was made of that model and graph.
"""

from collections.abc import Mapping
from pathlib import Path

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen


class BaseConfig(Frozen):
    """Nothing to choose: the model decides everything."""


def _build(_: BaseConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.inplace import write_serving
    from timbre.export.merge import merged_model
    from timbre.export.trace import write_decoder

    model, decoder, adapter = inputs["model"], inputs["decoder"], inputs.get("adapter")
    assert isinstance(model, Artifact) and isinstance(decoder, Artifact)
    write_decoder(decoder, merged_model(model, adapter if isinstance(adapter, Artifact) else None), workspace.output)
    write_serving(workspace.output, ONNX_FILE, int(model.json("model.json")["context"]))


STAGE: Stage[BaseConfig] = Stage("base", 3, _build)
ONNX_FILE = "model.onnx"


def served_file(base: Artifact) -> Path:
    """The graph that runs here, as `BundleFacts.graph` chooses a bundle's.

    Raises:
        IntegrityError: one of its graphs leads out of its folder (`timbre.export.hostile`).
    """
    from timbre.export.hostile import check_bundle
    from timbre.export.inplace import SERVING_FILE
    from timbre.export.session import on_cuda

    graphs = [name for name in (ONNX_FILE, SERVING_FILE) if name in base.manifest.files]
    for name in graphs:
        check_bundle(base, name)
    return base.file(graphs[0] if on_cuda() else graphs[-1])


def resolve_base(model: Artifact, decoder: Artifact, store: ArtifactStore, adapter: Artifact | None = None) -> Artifact:
    """The base's decoder with its weights: found, or built (which needs torch).

    Args:
        model, decoder: the base model and its traced graph, as the bundle's digests name them.
        adapter: of a baseline, which is then merged in.
    """
    return store.build(STAGE, BaseConfig(), _inputs(model, decoder, adapter))


def find_base(model: Artifact, decoder: Artifact, store: ArtifactStore, adapter: Artifact | None = None) -> Artifact | None:
    """The same, if it was built; imports no torch.

    Raises:
        IntegrityError: it is there, but damaged.
    """
    return store.find(STAGE.name, STAGE.key(BaseConfig(), _inputs(model, decoder, adapter)))


def _inputs(model: Artifact, decoder: Artifact, adapter: Artifact | None) -> dict[str, Input]:
    inputs: dict[str, Input] = {"model": model, "decoder": decoder}
    return inputs if adapter is None else inputs | {"adapter": adapter}
