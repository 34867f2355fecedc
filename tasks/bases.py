"""The untuned model beside a bundle, for whoever mixes the two while writing: found in this home, or made there once."""

import os
import subprocess
import sys

from timbre.artifacts import Artifact, ArtifactStore
from timbre.export.base import find_base, resolve_base
from timbre.export.facts import BundleFacts
from timbre.settings import settings
from timbre.tasks.context import open_store


def base_of(bundle: Artifact) -> Artifact:
    """The decoder of the base that a bundle was made of. The first time it is written, by torch, in a process of its own.

    Raises:
        ValueError: the base model or its graph is not in this home, or it could not be written.
        IntegrityError: it is damaged.
    """
    store, digests = open_store(), BundleFacts.read(bundle).digests
    model, decoder = _parts(store, digests["model"], digests["decoder"])
    if (found := find_base(model, decoder, store)) is not None:
        return found
    command = [sys.executable, "-m", "timbre.tasks.bases", model.digest, decoder.digest]
    environment = os.environ | {"TIMBRE_HOME": str(settings().home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or (found := find_base(model, decoder, store)) is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"the decoder of the base model could not be written ({said})")
    return found


def _parts(store: ArtifactStore, model: str, decoder: str) -> tuple[Artifact, Artifact]:
    try:
        return store.open("model", model), store.open("decoder", decoder)
    except ValueError as error:
        raise ValueError(
            f"diversity and strength mix in the base model, which is not in this home ({error}): "
            "`timbre stage model` and `timbre stage trace` make its parts where the version was made"
        ) from error


if __name__ == "__main__":
    resolve_base(*_parts(open_store(), *sys.argv[1:3]), open_store())
