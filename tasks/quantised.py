"""The weights of a registered version in 8 bits: artifacts of this home."""

from timbre.artifacts import Artifact
from timbre.export.facts import BundleFacts
from timbre.export.quantised import QuantisedConfig, find_quantised, resolve_quantised
from timbre.settings import settings
from timbre.tasks.context import open_store


def quantised_of(bundle: Artifact, *, build: bool) -> Artifact:
    """The quantised decoder of a bundle.

    Args:
        build: make it where it is not there; else that is refused.

    Raises:
        ValueError: it was not made yet, or the corpus that it is compared on is not in this home.
        IntegrityError: it is damaged.
    """
    store, digest = open_store(), BundleFacts.read(bundle).digests["corpus"]
    try:
        corpus = store.open("corpus", digest)
    except ValueError as error:
        where = f"is not under {settings().home}: do this where the version was made"
        raise ValueError(f"the corpus that quantised weights are compared on {where}") from error
    if build:
        return resolve_quantised(QuantisedConfig(), bundle, corpus, store)
    found = find_quantised(QuantisedConfig(), bundle, corpus, store)
    if found is None:
        raise ValueError(f"bundle {bundle.digest[:12]} has no weights in 8 bits yet: `timbre quantise` makes them")
    return found
