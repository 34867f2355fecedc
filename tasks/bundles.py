"""Registered versions and what they are made of: artifacts of this home, and the bundle also fetched from MLflow."""

from contextlib import suppress
from dataclasses import dataclass

from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore, IntegrityError
from timbre.config import ModelConfig
from timbre.registry.ports import Version
from timbre.settings import settings
from timbre.staging import lock_path, staging, sweep
from timbre.tasks.context import latest_transition, open_store, registered_name


@dataclass(frozen=True)
class Served:
    """A registered version and its verified bundle."""

    model: str
    version: int
    artifact: Artifact


def bundle_of(style: str, model: ModelConfig, number: int | None = None, digest: str | None = None) -> Served:
    """The bundle of a version, or of the champion.

    Args:
        digest: of the bundle of version `number` where it is known: then the registry is asked only if it is not on this machine.

    Raises:
        ValueError: there is no champion, or no such version.
        IntegrityError: the bundle is damaged.
    """
    name, store = registered_name(style, model), open_store()
    champion = latest_transition(name)
    if number is None and champion is None:
        raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one, `timbre status` shows what there is")
    if champion is not None and number in (None, champion.version):
        with suppress(ValueError):  # not on this machine: MLflow has it
            verdict = store.open("verdict", champion.verdict).json("verdict.json")
            return Served(name, champion.version, store.open("bundle", verdict["subject"]["bundle"]))
    if number is not None and digest is not None:
        with suppress(ValueError):
            return Served(name, number, store.open("bundle", digest))
    version = find_version(name, number if number is not None or champion is None else champion.version)
    try:
        return Served(name, version.number, store.open("bundle", version.bundle))
    except ValueError:
        return Served(name, version.number, _fetch(version, store))


def find_version(name: str, number: int | None) -> Version:
    """A registered version by number.

    Raises:
        ValueError: there is none; the sentence lists those that exist.
    """
    from timbre.tasks.stores.mlflow import MlflowStore

    store = MlflowStore.open(settings())
    versions = store.versions(name)
    found = next((version for version in versions if version.number == number), None)
    if found is None:
        known = ", ".join(f"v{version.number}" for version in versions) or "none"
        if number in store.foreign(name):
            raise ValueError(
                f"{name} v{number} was not registered by Timbre (it lacks its tags), so nothing is known of it; Timbre's: {known}"
            )
        raise ValueError(f"{name} has no version {number}; registered: {known}")
    return found


def artifact_of(version: Version, step: str) -> Artifact:
    """The artifact of a step that a version's tags name.

    Raises:
        ValueError: it is not on this machine.
        IntegrityError: it is damaged.
    """
    digest = version.tags.get(f"timbre.{step}", "")
    try:
        return open_store().open(pipeline.STEP[step].stage.name, digest)
    except ValueError as error:
        whose = f"the {step} of {version.model} v{version.number}"
        raise ValueError(f"{whose} is not on this machine ({digest[:12] or 'no tag'}): do this where it was made") from error


def _fetch(version: Version, store: ArtifactStore) -> Artifact:
    """Download a bundle from MLflow into the store; of the download itself nothing stays, whatever happens."""
    from filelock import FileLock

    from timbre.tasks.stores.mlflow import MlflowStore

    sweep(store.home)
    name = f"bundle-{version.bundle[:12]}"
    lock = lock_path(store.home, name)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock), staging(lock.parent, name) as folder:
        bundle = store.adopt(MlflowStore.open(settings()).download(version, folder))
    if bundle.digest != version.bundle:
        raise IntegrityError(
            f"MLflow holds bundle {bundle.digest[:12]} for {version.model} v{version.number}, whose tag says {version.bundle[:12]}"
        )
    return bundle
