"""What stands in registry and ledger, for `timbre status` and `timbre history`."""

from dataclasses import asdict
from typing import Any

from timbre.artifacts import IntegrityError
from timbre.registry.ledger import Ledger
from timbre.registry.ports import CHALLENGER, ModelRegistry, is_of_style
from timbre.registry.promotion import gone, heal
from timbre.settings import settings
from timbre.tasks.canary import figures_of
from timbre.tasks.context import known_style, open_store, publishing, transitions_of, verdicts_of
from timbre.tasks.latest import pages_of


def models(style: str | None = None) -> list[dict[str, Any]]:
    """One row a model (of one style if given) that is registered or in the ledger; aliases are repaired on the way.

    `problem` says which versions the ledger names and the registry has lost: that must not hide the other models.

    Raises:
        ValueError: no such style.
    """
    if style is not None:
        known_style(style)
    with publishing() as ledger:
        known = {transition.model for transition in ledger.transitions()}
        embedded = settings().mlflow_tracking_uri is None
        if embedded and not known and not (settings().home / "mlflow.db").exists():
            return []
        from timbre.tasks.stores.mlflow import MlflowStore

        store = MlflowStore.open(settings())
        return [_row(name, store, ledger) for name in sorted(known.union(store.models())) if style is None or is_of_style(name, style)]


def _row(name: str, store: ModelRegistry, ledger: Ledger) -> dict[str, Any]:
    champion, problems = ledger.latest(name), gone(name, store, ledger)
    heal(name, store, ledger)
    versions = store.versions(name)
    return {
        "model": name,
        "champion": champion.version if champion else None,
        "previous": champion.replaced_version if champion else None,
        "challenger": next((version.number for version in versions if CHALLENGER in version.aliases), None),
        "policy": champion.policy if champion else None,
        "since": champion.at.isoformat(timespec="minutes") if champion else None,
        "versions": [version.number for version in versions],
        **(_pages(champion.verdict) if champion else {"report": None, "data_docs": None}),
        "problem": "; ".join(problems) or None,
        "serving": figures_of(name, ledger),
    }


def _pages(verdict: str) -> dict[str, str | None]:
    """Where the champion's report and Data Docs lie: at the place that stays where they are the newest; None if not on this machine."""
    store = open_store()
    places: dict[str, str | None] = {"report": None, "data_docs": None}
    try:
        judged = store.open("verdict", verdict)
        places["report"] = str(judged.file("report.html"))
        corpus = store.open("corpus", judged.json("verdict.json")["subject"]["corpus"])
        places["data_docs"] = str(corpus.path / "data_docs" / "index.html")
        places |= {name: str(place) for name, place in pages_of(str(corpus.manifest.config["style"]), verdict).items()}
    except (ValueError, KeyError, IntegrityError):
        pass
    return places


def verdicts(style: str | None) -> list[dict[str, Any]]:
    """Every verdict in the ledger, oldest first; of one style if given.

    Raises:
        ValueError: no such style.
    """
    if style is not None:
        known_style(style)
    return [asdict(judged) | {"at": at.isoformat(timespec="seconds")} for judged, at in verdicts_of(style)]


def transitions(style: str | None) -> list[dict[str, Any]]:
    """The ledger, oldest first; of one style if given.

    Raises:
        ValueError: no such style.
    """
    if style is not None:
        known_style(style)
    return [asdict(transition) | {"at": transition.at.isoformat(timespec="seconds")} for transition in transitions_of(style)]
