"""The stage "bundle": a model and its adapter as something that runs without torch, with proof that it is the same."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, Input, Stage, Workspace
from timbre.config import ExportConfig


def _build(config: ExportConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.bundle import Parts, write_bundle

    parts = {name: part for name, part in inputs.items() if isinstance(part, Artifact)}
    write_bundle(config, Parts(**parts), workspace.output, workspace.scratch, workspace.progress)


STAGE: Stage[ExportConfig] = Stage("bundle", 7, _build, timings=("latency.json",))
