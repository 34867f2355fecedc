"""Moving the champion by hand, with the real registry and ledger."""

from timbre.config import ModelConfig
from timbre.registry import promotion
from timbre.registry.ledger import Transition
from timbre.settings import settings
from timbre.tasks.automations import PROMOTED, ROLLED_BACK
from timbre.tasks.bundles import find_version
from timbre.tasks.context import open_store, publishing, registered_name
from timbre.tasks.environment import prepare
from timbre.tasks.events import tell


def promote_version(style: str, model: ModelConfig, number: int, reason: str) -> Transition:
    """See `timbre.registry.promotion.promote`."""
    prepare(settings())
    from timbre.tasks.stores.mlflow import MlflowStore

    name = registered_name(style, model)
    with publishing() as ledger:
        version = find_version(name, number)
        champion = promotion.promote(version, MlflowStore.open(settings()), ledger, open_store(), reason=reason)
    tell(PROMOTED, name, style=style, version=champion.version, replaced=champion.replaced_version, reason=reason)
    return champion


def roll_back(style: str, model: ModelConfig, reason: str) -> Transition:
    """See `timbre.registry.promotion.rollback`."""
    prepare(settings())
    from timbre.tasks.stores.mlflow import MlflowStore

    name = registered_name(style, model)
    with publishing() as ledger:
        if ledger.latest(name) is None:
            raise ValueError(f"{name} has no champion, so there is nothing to roll back; see `timbre status`")
        champion = promotion.rollback(name, MlflowStore.open(settings()), ledger, open_store(), reason=reason)
    tell(ROLLED_BACK, name, style=style, version=champion.version, replaced=champion.replaced_version, reason=reason)
    return champion
