"""The weights of a registered version in fewer bits, what was found about them, and which form is served: artifacts of this home."""

import logging
from pathlib import Path

from timbre.artifacts import Artifact, Input
from timbre.config import ReleaseConfig
from timbre.export.base import served_file as exact_base_file
from timbre.export.facts import BundleFacts
from timbre.export.quantised import (
    Quantised,
    QuantisedConfig,
    find_quantised,
    find_rounded_base,
    precision_of,
    resolve_quantised,
    served_file,
)  # fmt: skip
from timbre.export.session import on_cuda
from timbre.serving.engines import ENGINES, EnginesConfig, find_served, resolve_served
from timbre.settings import settings
from timbre.tasks.bases import base_of
from timbre.tasks.context import open_store

_log = logging.getLogger(__name__)
_BITS = {"int8": 8, "int4": 4}


def quantised_of(bundle: Artifact, *, build: bool, precision: str = "int8") -> Artifact:
    """The decoder of a bundle in fewer bits.

    Args:
        build: make it where it is not there; else that is refused.

    Raises:
        ValueError: it was not made yet, or the corpus that it is compared on is not in this home.
        IntegrityError: it is damaged.
    """
    store, corpus = open_store(), _corpus(bundle)
    config = QuantisedConfig.model_validate({"bits": _BITS[precision]})
    if build:
        return resolve_quantised(config, bundle, corpus, store)
    found = find_quantised(config, bundle, corpus, store)
    if found is None:
        raise ValueError(f"bundle {bundle.digest[:12]} has no weights in {_BITS[precision]} bits yet: `timbre quantise` makes them")
    return found


def rounded_base_of(bundle: Artifact, precision: str) -> Artifact:
    """The base that a bundle was made of, in fewer bits: found, or built.

    Raises:
        ValueError: the base model or the corpus is not in this home.
        IntegrityError: it is damaged.
    """
    config = QuantisedConfig.model_validate({"bits": _BITS[precision]})
    return resolve_quantised(config, bundle, _corpus(bundle), open_store(), base_of(bundle))


def base_file(bundle: Artifact, precision: str) -> Path:
    """The decoder that `strength` and `diversity` mix in: in the form of the bundle's own weights where that was made and is near enough.

    Args:
        precision: as for `weights_of`.

    Raises:
        ValueError: the base model is not in this home.
        IntegrityError: it is damaged.
    """
    weights, base = weights_of(bundle, precision), base_of(bundle)
    rounded = None if weights is None else find_rounded_base(bundle, base, precision_of(weights), open_store())
    return served_file(rounded) if rounded is not None and Quantised.read(rounded).passes else exact_base_file(base)


def served_of(bundle: Artifact, config: EnginesConfig) -> tuple[Artifact, Artifact]:
    """What was measured of a bundle's forms, and the artifact whose manifest names the default one: found, or built.

    Raises: as `quantised_of`; ValueError: the corpus has too little test text.
    """
    from timbre.artifacts import FileInput
    from timbre.pipeline.inputs import policy_path, probes

    store = open_store()
    forms = {name: quantised_of(bundle, build=True, precision=name) for name in _BITS}
    inputs: dict[str, Input] = {"bundle": bundle, "corpus": _corpus(bundle), **forms, **probes(ReleaseConfig())}
    inputs["policy"] = FileInput(policy_path("quick"))
    engines = store.build(ENGINES, config, inputs)
    served = resolve_served(engines, bundle, forms, store)
    if (default := str(served.manifest.config["default"])) != "fp32":
        try:
            rounded_base_of(bundle, default)
        except ValueError as error:
            _log.warning("what diversity and strength mix in stays in fp32: %s", error)
    return engines, served


def weights_of(bundle: Artifact, precision: str) -> Path | None:
    """The file that runs instead of the bundle's own decoder, or None.

    Args:
        precision: `auto` takes the form that a manifest here names for this bundle; fp32 where none does, and on CUDA.

    Raises:
        ValueError: that form was not made yet.
        IntegrityError: it is damaged.
    """
    served = find_served(bundle.digest, open_store())
    named = "fp32" if served is None or on_cuda() else served.manifest.config["default"]  # it was judged on a CPU
    chosen = named if precision == "auto" else precision
    if chosen == "fp32":
        return None
    if served is not None:
        return served_file(open_store().open("quantised", served.manifest.inputs[chosen]))
    return served_file(quantised_of(bundle, build=False, precision=chosen))


def _corpus(bundle: Artifact) -> Artifact:
    try:
        return open_store().open("corpus", BundleFacts.read(bundle).digests["corpus"])
    except ValueError as error:
        where = f"is not under {settings().home}: do this where the version was made"
        raise ValueError(f"the corpus that quantised weights are compared on {where}") from error
