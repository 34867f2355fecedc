"""The stage "target": corpus and model in, sparse target distributions out."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import TargetConfig


def build_target(config: TargetConfig, corpus: Artifact, model: Artifact, store: ArtifactStore) -> Artifact:
    """The target of this configuration, found or built.

    Raises:
        TargetRefused: the reference is not better than the base model on unseen documents.
        ValueError: too little text for the folds or the budget, or K over the vocabulary.
    """
    return store.build(STAGE, config, {"corpus": corpus, "model": model})


def _build(config: TargetConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.targets.assembly import assemble

    corpus, model = inputs["corpus"], inputs["model"]
    assert isinstance(corpus, Artifact) and isinstance(model, Artifact)
    assemble(config, corpus, model, workspace)


STAGE: Stage[TargetConfig] = Stage("target", 1, _build)
