"""The untuned model beside a bundle, and the baseline that was trained beside it: found in this home, or made there once."""

import os
import subprocess
import sys

from timbre.artifacts import Artifact, ArtifactStore, IntegrityError
from timbre.export.base import find_base, resolve_base
from timbre.export.facts import BundleFacts
from timbre.settings import settings
from timbre.tasks.context import open_store


def base_of(bundle: Artifact, adapter: str = "") -> Artifact:
    """The decoder of the base that a bundle was made of. The first time it is written, by torch, in a process of its own.

    Args:
        adapter: the digest of a baseline's adapter, which is merged into it.

    Raises:
        ValueError: the base model or its graph is not in this home, or it could not be written.
        IntegrityError: it is damaged.
    """
    store, digests = open_store(), BundleFacts.read(bundle).digests
    model, decoder = _parts(store, digests["model"], digests["decoder"])
    merged = store.open("adapter", adapter) if adapter else None
    if (found := find_base(model, decoder, store, merged)) is not None:
        return found
    command = [sys.executable, "-m", "timbre.tasks.bases", model.digest, decoder.digest, *([adapter] if adapter else [])]
    environment = os.environ | {"TIMBRE_HOME": str(settings().home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or (found := find_base(model, decoder, store, merged)) is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"the decoder of the {'baseline' if adapter else 'base model'} could not be written ({said})")
    return found


def baseline_of(verdict: str) -> tuple[str, str] | None:
    """The objective and the adapter's digest of the baseline that a verdict's page shows; None where none was trained, or none is here."""
    store = open_store()
    try:
        adapter = store.open("adapter", store.open("verdict", verdict).manifest.inputs.get("baseline_adapter", ""))
    except (ValueError, IntegrityError):
        return None
    return str(adapter.manifest.config.get("objective", "baseline")), adapter.digest


def _parts(store: ArtifactStore, model: str, decoder: str) -> tuple[Artifact, Artifact]:
    try:
        return store.open("model", model), store.open("decoder", decoder)
    except ValueError as error:
        raise ValueError(
            f"diversity and strength mix in the base model, which is not in this home ({error}): "
            "`timbre stage model` and `timbre stage trace` make its parts where the version was made"
        ) from error


if __name__ == "__main__":
    resolve_base(*_parts(open_store(), *sys.argv[1:3]), open_store(), *(open_store().open("adapter", one) for one in sys.argv[3:4]))
