"""Garbage collection of a home: what the ledger, the registry and open runs do not need."""

import shutil

from timbre.artifacts import ArtifactStore, IntegrityError
from timbre.config import Frozen
from timbre.registry.retention import Retention, Stored, removable, stored
from timbre.settings import settings
from timbre.tasks.context import open_ledger, open_store
from timbre.tasks.runs import only_run


class Collected(Frozen):
    """What a collection removed, or would remove."""

    removed: tuple[str, ...]
    """`stage/digest`, oldest first."""
    freed_bytes: int
    kept: int
    dry_run: bool


def collect(policy: Retention, *, dry_run: bool) -> Collected:
    """Remove what the policy gives up. No run of this home may go on meanwhile.

    Raises:
        ValueError: a run goes on, or the policy is out of range.
    """
    settings().home.mkdir(parents=True, exist_ok=True)
    with only_run(settings().home):
        store = open_store()
        items = list(stored(store.all()))
        gone = removable(items, _roots(store), policy)
        if not dry_run:
            for item in gone:
                _remove(item)
    names = tuple(f"{item.stage}/{item.digest}" for item in gone)
    return Collected(removed=names, freed_bytes=sum(item.size for item in gone), kept=len(items) - len(gone), dry_run=dry_run)


def _roots(store: ArtifactStore) -> set[str]:
    """Verdicts of every champion, of the one before it, and of versions that passed and may still be promoted."""
    roots: set[str] = set()
    ledger = open_ledger()
    try:
        transitions = ledger.transitions()
        for model in {transition.model for transition in transitions}:
            last = ledger.latest(model)
            versions = {last.version, last.replaced_version} if last is not None else set()
            roots |= {transition.verdict for transition in transitions if transition.model == model and transition.version in versions}
    finally:
        ledger.close()
    if (settings().home / "mlflow.db").exists() or settings().mlflow_tracking_uri is not None:
        from timbre.tasks.stores.mlflow import MlflowStore

        registry = MlflowStore.open(settings())
        roots |= {version.verdict for model in registry.models() for version in registry.versions(model) if version.aliases}
    return roots | {digest for verdict in roots for digest in _subjects(store, verdict)}


def _subjects(store: ArtifactStore, verdict: str) -> set[str]:
    """What a verdict is about, by the digests that it names itself."""
    try:
        subject = store.open("verdict", verdict).json("verdict.json")["subject"]
    except (ValueError, KeyError, IntegrityError):
        return set()  # made on another machine, or damaged, which `timbre doctor` says
    return {value for value in subject.values() if isinstance(value, str)}


def _remove(item: Stored) -> None:
    """First aside under a name that no key points at, so that a kill leaves no half of an artifact to be found."""
    aside = item.path.with_name(f".removed-{item.digest}")
    item.path.rename(aside)
    shutil.rmtree(aside)
