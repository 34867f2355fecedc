"""The stage "quantised": a bundle's decoder with weights of 8 or 4 bits, and how far it is from the fp32 one on held-out text.

model.onnx, model.onnx.data   the served graph; each weight matrix in blocks of `block` numbers with a scale of their own (ONNX Runtime's
                              MatMulNBits), activations rounded to 8 bits block by block while multiplying; the rest is fp32.
                              Products of the same values are one (`timbre.export.joined`), to the same bits.
                              With 4 bits a block has a zero point as well, and the head keeps 8
quantised.json                `Quantised`: mean and 99% quantile of KL(fp32 ‖ quantised), nats a token, over test documents

Each passage's distances are kept as they are found, so that a killed comparison goes on.

Given a base too, it is the base's decoder (`timbre.export.base`) that is rounded and compared with itself in fp32: what `diversity` and
`strength` mix in beside rounded weights. The bundle tells of tokens then.

Its bundle stays what was judged. Whether the voice is kept is measured by the stage "engines" (`timbre.serving.engines`).
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from timbre.artifacts import Artifact, ArtifactStore, Input, IntegrityError, Stage, Workspace, kept
from timbre.config import Frozen
from timbre.export.facts import BundleFacts
from timbre.export.session import Decoder
from timbre.inference.arrays import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONNX_FILE, FIGURES_FILE = "model.onnx", "quantised.json"
LIMIT = 0.02
"""Largest mean KL to fp32, nats a token, at which quantised weights may become the default."""


class QuantisedConfig(Frozen):
    """How weights are stored, and how much text tells what that costs."""

    bits: Literal[4, 8] = 8
    block: Literal[16, 32, 64, 128] = 32
    tokens: int = Field(4608, ge=1, description="Held-out tokens to compare on; fewer where the test documents have fewer.")
    window: int = Field(256, ge=2, description="Tokens of a passage.")


class Quantised(Frozen):
    """`quantised.json`."""

    bits: int
    block: int
    kl: float
    """Mean over tokens, nats."""
    kl_99: float
    """Its 99% quantile."""
    tokens: int
    limit: float = LIMIT
    provider: str

    @property
    def passes(self) -> bool:
        return self.kl <= self.limit

    @classmethod
    def read(cls, artifact: Artifact) -> "Quantised":
        return cls.model_validate_json(artifact.file(FIGURES_FILE).read_bytes())


def _build(config: QuantisedConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    bundle, corpus, base = inputs["bundle"], inputs["corpus"], inputs.get("base")
    assert isinstance(bundle, Artifact) and isinstance(corpus, Artifact)
    work = workspace.progress.track(("round", "compare"), f"quantise {bundle.digest[:8]}")
    next(work)
    facts = BundleFacts.read(bundle)
    exact, source = _graphs(base) if isinstance(base, Artifact) else (bundle.file(facts.onnx), bundle.file(facts.serving or facts.onnx))
    _write(config, source, workspace.output / ONNX_FILE)
    next(work)
    figures = compared(config, bundle, corpus, workspace.output / ONNX_FILE, workspace.scratch, exact)
    (workspace.output / FIGURES_FILE).write_text(json.dumps(figures.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")
    next(work, None)


STAGE: Stage[QuantisedConfig] = Stage("quantised", 4, _build)


def _graphs(base: Artifact) -> tuple[Path, Path]:
    """The exported graph of a base's decoder, and the one that is served."""
    from timbre.export import base as bases

    return base.file(bases.ONNX_FILE), bases.served_file(base)


def resolve_quantised(
    config: QuantisedConfig, bundle: Artifact, corpus: Artifact, store: ArtifactStore, base: Artifact | None = None
) -> Artifact:
    """The quantised decoder of a bundle, or of the base beside it: found, or built (which needs the package onnx).

    Raises:
        ValueError: the corpus has no test passage of `config.window` tokens.
    """
    return store.build(STAGE, config, _inputs(bundle, corpus, base))


def find_quantised(config: QuantisedConfig, bundle: Artifact, corpus: Artifact, store: ArtifactStore) -> Artifact | None:
    """The same of a bundle, if it was built. Raises: IntegrityError: it is there, but damaged."""
    return store.find(STAGE.name, STAGE.key(config, _inputs(bundle, corpus, None)))


def find_rounded_base(bundle: Artifact, base: Artifact, precision: str, store: ArtifactStore) -> Artifact | None:
    """The base of a bundle in this form, whatever it was compared on. Raises: IntegrityError: it is there, but damaged."""
    for path in store.all():
        if path.parent.name == STAGE.name:
            found = store.open(STAGE.name, path.name)
            about, wanted = found.manifest, {"bundle": bundle.digest, "base": base.digest}
            beside = about.stage_version == STAGE.version and wanted.items() <= about.inputs.items()
            if beside and f"int{Quantised.read(found).bits}" == precision:
                return found
    return None


def _inputs(bundle: Artifact, corpus: Artifact, base: Artifact | None) -> dict[str, Input]:
    inputs: dict[str, Input] = {"bundle": bundle, "corpus": corpus}
    return inputs if base is None else inputs | {"base": base}


def served_file(quantised: Artifact) -> Path:
    """The ONNX file of quantised weights. Weights farther from fp32 than `LIMIT` are no default, but may be chosen: with a warning.

    Raises:
        IntegrityError: the file leads out of its folder (`timbre.export.hostile`).
    """
    from timbre.export.hostile import check_bundle

    figures = Quantised.read(quantised)
    if not figures.passes:
        far = f"{figures.kl:.3g} nats a token from fp32, and {LIMIT:g} is the most"
        warnings.warn(f"weights in {figures.bits} bits are {far}: the texts are those of another model than was judged", stacklevel=2)
    check_bundle(quantised, ONNX_FILE)
    return rounded_file(quantised)


def rounded_file(quantised: Artifact) -> Path:
    """The same, of whatever distance, for whoever measures it."""
    return quantised.file(ONNX_FILE)


def precision_of(weights: Path) -> str:
    """What numbers a quantised decoder's file holds, e.g. `int8`."""
    return f"int{Quantised.model_validate_json((weights.parent / FIGURES_FILE).read_bytes()).bits}"


def compared(
    config: QuantisedConfig, bundle: Artifact, corpus: Artifact, quantised: Path, scratch: Path, exact: Path | None = None
) -> Quantised:
    """KL(fp32 ‖ quantised) at every token of passages of test documents, half of each read at once and half on the cache.

    Args:
        exact: the fp32 graph, if it is not the bundle's.
        scratch: a folder where the distances of each passage are kept, and taken from where they are there.

    Raises:
        ValueError: no test document has `config.window` tokens.
    """
    vocabulary = BundleFacts.read(bundle).vocab_size
    whole, rounded = Decoder.open(exact or bundle.file(BundleFacts.read(bundle).onnx)), Decoder.open(quantised)

    def distances(row: "NDArray[np.int64]") -> list[float]:
        log_p, log_q = (_log_probabilities(decoder, row)[:, :vocabulary] for decoder in (whole, rounded))
        found: list[float] = (np.exp(log_p) * (log_p - log_q)).sum(-1).tolist()
        if not np.isfinite(found).all():
            raise IntegrityError("quantised weights gave a number that is none")
        return found

    found = []
    for number, row in enumerate(_passages(config, bundle, corpus)):
        found.append(kept(scratch / f"kl-{number:05}.json", partial(distances, row)))
    if not found:
        raise ValueError(f"no test document has {config.window} tokens to compare quantised weights on: add longer ones to the corpus")
    kl = np.concatenate(found)
    mean, high = float(kl.mean()), float(np.quantile(kl, 0.99))
    return Quantised(bits=config.bits, block=config.block, kl=mean, kl_99=high, tokens=len(kl), provider=rounded.provider)


def _passages(config: QuantisedConfig, bundle: Artifact, corpus: Artifact) -> "Iterator[NDArray[np.int64]]":
    from tokenizers import Tokenizer

    from timbre.corpus.documents import read_documents
    from timbre.models.tokens import backend_text_ids

    tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
    tokenizer.no_truncation()
    rows = [backend_text_ids(document.text, tokenizer) for document in read_documents(corpus, "test")]
    left = -(-config.tokens // config.window)
    for place in range(0, max(map(len, rows), default=0), config.window):
        for row in rows:
            if left and len(row) >= place + config.window:
                left -= 1
                yield np.array([row[place : place + config.window]], np.int64)


def _log_probabilities(decoder: Decoder, row: "NDArray[np.int64]") -> "NDArray[np.float64]":
    half, cache, parts = row.shape[1] // 2, decoder.empty_cache(1), []
    for part in (row[:, :half], row[:, half:]):
        logits, cache = decoder.step(part, cache)
        parts.append(logits[0])
    log_p: NDArray[np.float64] = log_softmax(np.concatenate(parts))
    return log_p


def _write(config: QuantisedConfig, source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    from timbre.export.graph import scrub
    from timbre.export.joined import join_products

    logging.getLogger(nbits.__name__).setLevel(logging.WARNING)  # a line a node
    model = onnx.load(str(source))
    head = {node.name for node in model.graph.node if "logits" in node.output}
    for bits, left in ((config.bits, head if config.bits < 8 else set[str]()), (8, set[str]())):
        quantizer = nbits.MatMulNBitsQuantizer(
            model, bits=bits, block_size=config.block, is_symmetric=bits == 8, accuracy_level=4, nodes_to_exclude=sorted(left)
        )  # fmt: skip
        quantizer.process()
        model = quantizer.model.model
        if not left:
            break
    join_products(model)
    quantizer.model.save_model_to_file(str(target), True)
    scrub(target)
