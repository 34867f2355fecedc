"""The stage "target": corpus and model in, sparse target distributions out."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import TargetConfig


def build_target(config: TargetConfig, corpus: Artifact, model: Artifact, store: ArtifactStore) -> Artifact:
    """The target of this configuration, found or built.

    Raises:
        TargetRefused: the reference is not better than the base model on unseen documents.
        ValueError: too little text for the folds or the budget, or K over the vocabulary.
    """
    return store.build(STAGE, config, {"corpus": corpus, "model": model, **target_inputs(config)})


def target_inputs(config: TargetConfig) -> dict[str, Input]:
    """What a target reads besides corpus and model: its principles, and the folder of a reference of its own.

    Raises:
        ValueError: an unknown principle, or no such model.
    """
    inputs: dict[str, Input] = {}
    names = [use.name for use in config.principles] + ([config.debias] if config.debias else [])
    if names:
        from timbre.targets.principles import principle_path

        inputs |= {f"principle:{name}": FileInput(principle_path(name)) for name in names}
    if config.reference is not None:
        from timbre.models import model_inputs

        inputs |= {f"reference:{name}": value for name, value in model_inputs(config.reference).items()}
    return inputs


def _build(config: TargetConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.targets.assembly import assemble

    corpus, model = inputs["corpus"], inputs["model"]
    assert isinstance(corpus, Artifact) and isinstance(model, Artifact)
    files = {name.removeprefix("principle:"): value.path for name, value in inputs.items() if name.startswith("principle:")}
    assemble(config, corpus, model, workspace, files)


STAGE: Stage[TargetConfig] = Stage("target", 5, _build, runs_model=True)
