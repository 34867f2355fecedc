"""What stands in registry and ledger, for `timbre status` and `timbre history`."""

from dataclasses import asdict
from typing import Any

from tasks.release import open_ledger
from timbre.registry.ports import CHALLENGER
from timbre.registry.promotion import repair
from timbre.settings import settings


def models() -> list[dict[str, Any]]:
    """One row a registered model; aliases are repaired from the ledger on the way."""
    embedded = settings().mlflow_tracking_uri is None
    if embedded and not (settings().home / "mlflow.db").exists():
        return []
    from tasks.stores.mlflow import MlflowStore

    store, ledger = MlflowStore.open(settings()), open_ledger()
    try:
        rows = []
        for name in store.models():
            repair(name, store, ledger)
            champion = ledger.latest(name)
            challengers = [version.number for version in store.versions(name) if CHALLENGER in version.aliases]
            rows.append(
                {
                    "model": name,
                    "champion": champion.version if champion else None,
                    "previous": champion.replaced_version if champion else None,
                    "challenger": challengers[0] if challengers else None,
                    "policy": champion.policy if champion else None,
                    "since": champion.at.isoformat(timespec="minutes") if champion else None,
                }
            )
        return rows
    finally:
        ledger.close()


def moves(style: str | None) -> list[dict[str, Any]]:
    """The ledger, oldest first; of one style if given."""
    ledger = open_ledger()
    try:
        found = ledger.moves()
    finally:
        ledger.close()
    prefix = None if style is None else f"timbre-{style}"
    return [
        asdict(move) | {"at": move.at.isoformat(timespec="seconds")}
        for move in found
        if prefix is None or move.model == prefix or move.model.startswith(f"{prefix}--")
    ]
