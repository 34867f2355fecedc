"""The stage "bundle": a model and its adapter as something that runs without torch, with proof that it is the same."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import ExportConfig


def _build(config: ExportConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.bundle import write_bundle

    model, adapter, corpus = (inputs[name] for name in ("model", "adapter", "corpus"))
    assert isinstance(model, Artifact) and isinstance(adapter, Artifact) and isinstance(corpus, Artifact)
    write_bundle(config, model, adapter, corpus, workspace.output, workspace.progress)


STAGE: Stage[ExportConfig] = Stage("bundle", 1, _build)


def export_bundle(config: ExportConfig, model: Artifact, adapter: Artifact, corpus: Artifact, store: ArtifactStore) -> Artifact:
    """The bundle of `adapter` merged into `model`, compared with torch on test documents of `corpus`: found, or built.

    Differences are written into parity.json and judged by the gate, not here: a bundle that differs is evidence, too.

    Raises:
        ValueError: the model cannot be exported, lacks tokenizer.json, or the corpus has no test text.
    """
    return store.build(STAGE, config, {"model": model, "adapter": adapter, "corpus": corpus})
