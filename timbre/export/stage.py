"""The stage "bundle": a model and its adapter as something that runs without torch, with proof that it is the same."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import ExportConfig


def _build(config: ExportConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.bundle import Parts, write_bundle

    parts = {name: part for name, part in inputs.items() if isinstance(part, Artifact)}
    write_bundle(config, Parts(**parts), workspace.output, workspace.scratch, workspace.progress)


STAGE: Stage[ExportConfig] = Stage("bundle", 5, _build, timings=("latency.json",))


def export_bundle(
    config: ExportConfig, model: Artifact, adapter: Artifact, corpus: Artifact, decoder: Artifact, store: ArtifactStore
) -> Artifact:
    """The bundle of `adapter` merged into `model`, compared with torch on test documents of `corpus`: found, or built.

    `decoder` is the traced graph of `model` (timbre.export.trace).

    Differences are written into parity.json and judged by the gate, not here: a bundle that differs is evidence, too.

    Raises:
        ValueError: the model cannot be exported, lacks tokenizer.json, or the corpus has no test text.
    """
    return store.build(STAGE, config, {"model": model, "adapter": adapter, "corpus": corpus, "decoder": decoder})
