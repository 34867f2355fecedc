"""The texts that a registered version, its base model and the human writers gave for the same prompts."""

from typing import Literal

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig
from timbre.judging.pairs import generated_texts
from timbre.metrics.texts import Text
from timbre.registry.ports import Version
from timbre.tasks.bundles import find_version
from timbre.tasks.context import open_store, registered_name

_FILE = "generations.jsonl"


Side = Literal["version", "base", "human"]


def version_texts(style: str, model: ModelConfig, number: int, side: Side) -> list[Text]:
    """Texts of the style prompts of a registered version's evaluation, with their prompts.

    Raises:
        ValueError: no such version, or its evaluation is not on this machine.
        IntegrityError: the artifact is damaged.
    """
    return texts_of(find_version(registered_name(style, model), number), open_store(), side)


def texts_of(version: Version, store: ArtifactStore, side: Side) -> list[Text]:
    """The same, of a version at hand.

    Raises:
        ValueError: its evaluation is not in the store.
        IntegrityError: the artifact is damaged.
    """
    try:
        digest = version.tags.get("timbre.evaluation", "none")
        if side == "base":
            digest = str(store.open("verdict", version.verdict).json("verdict.json")["subject"]["base"])
        artifact = _with_texts(store.open("evaluation", digest), store)
    except ValueError as error:
        what = "the base model's texts" if side == "base" else "the texts"
        raise ValueError(f"{what} of {version.model} v{version.number} are not on this machine: judge where it was made") from error
    return generated_texts(artifact.json_lines(_FILE), "human" if side == "human" else "text")


def _with_texts(evaluation: Artifact, store: ArtifactStore) -> Artifact:
    """The evaluation if it holds the texts, else the artifact that it was given them by."""
    if _FILE in evaluation.manifest.files:
        return evaluation
    return store.open("generations", evaluation.manifest.inputs.get("generations", "none"))
