"""The stage "base": the untuned model as a decoder of its own, for whoever mixes it with a tuned one while writing.

model.onnx, model.onnx.data   the traced graph (timbre.export.trace) with the base's own weights

It is built once a base model, where it is first asked for, and serves every bundle that was made of that model and graph.
"""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen


class BaseConfig(Frozen):
    """Nothing to choose: the model decides everything."""


def _build(_: BaseConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.merge import merged_model
    from timbre.export.trace import write_decoder

    model, decoder = inputs["model"], inputs["decoder"]
    assert isinstance(model, Artifact) and isinstance(decoder, Artifact)
    write_decoder(decoder, merged_model(model), workspace.output)


STAGE: Stage[BaseConfig] = Stage("base", 1, _build)
ONNX_FILE = "model.onnx"


def resolve_base(model: Artifact, decoder: Artifact, store: ArtifactStore) -> Artifact:
    """The base's decoder with its weights: found, or built (which needs torch).

    Args:
        model, decoder: the base model and its traced graph, as the bundle's digests name them.
    """
    return store.build(STAGE, BaseConfig(), {"model": model, "decoder": decoder})


def find_base(model: Artifact, decoder: Artifact, store: ArtifactStore) -> Artifact | None:
    """The same, if it was built; imports no torch.

    Raises:
        IntegrityError: it is there, but damaged.
    """
    return store.find(STAGE.name, STAGE.key(BaseConfig(), {"model": model, "decoder": decoder}))
