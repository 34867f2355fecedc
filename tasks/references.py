"""The human text beside a bundle, for whoever refines texts or keeps them from reciting."""

from timbre.artifacts import Artifact
from timbre.export.facts import BundleFacts
from timbre.tasks.context import open_store


def reference_of(bundle: Artifact) -> Artifact:
    """The corpus that a bundle was tuned on.

    Raises:
        ValueError: it is not in this home.
        IntegrityError: it is damaged.
    """
    try:
        return open_store().open("corpus", BundleFacts.read(bundle).digests["corpus"])
    except ValueError as error:
        raise ValueError(
            f"refining and no-repeat need the training text, which is not in this home ({error}): do this where the version was made"
        ) from error
