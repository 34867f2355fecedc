"""The stage "calibration": texts of the untuned base for the Style Diversity Score, and whether the score is to be believed.

Built once a style and base model; `timbre evaluate` reads it. Documents are dealt to two sides by writer (by document where
there are fewer than four writers). Side A gives the human reference and the prompts of the anchors, side B everything that
the score is asked about, so that no writer and no prompt is on both. Torch is loaded only to build.

Files of the artifact:
    texts.jsonl        {set, length, text, document} a line, length .75, 1 or 1.25 of `new_tokens`
    calibration.json   {passed, definition, checks, scores, count, refused, encoder}
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, json_lines
from timbre.config import EvaluationConfig, Frozen, SamplerConfig
from timbre.corpus.documents import Document, read_documents

if TYPE_CHECKING:
    from timbre.metrics.calibration import TextSets

_SAMPLERS = {"greedy": SamplerConfig(temperature=0), "hot": SamplerConfig(temperature=2), "base": SamplerConfig(temperature=1)}
_WRITERS = 4


class CalibrationConfig(Frozen):
    """How much is generated; cost grows with prompts × new_tokens × 5."""

    prompts: int = Field(128, ge=4, description="Texts of each set; the human reference has twice as many.")
    prompt_tokens: int = Field(24, ge=1)
    new_tokens: int = Field(256, ge=16, description="Length at which the score is calibrated; a quarter more is generated.")
    batch_tokens: int = Field(8192, ge=16)
    encoder: bool = Field(False, description="Whether content embeddings take part; settled by whether set-up fetched the encoder.")
    seed: int = 0


def _build(config: CalibrationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.inference.embeddings import packaged_encoder
    from timbre.metrics.calibration import LENGTHS, calibrate

    encoder = packaged_encoder() if config.encoder else None
    if config.encoder and encoder is None:
        raise ValueError("calibration with content embeddings needs the sentence encoder: run `timbre setup`, or ask without it")
    rows, sets = _texts(config, inputs, work)
    found = calibrate({length: sets[length] for length in LENGTHS}, seed=config.seed, encoder=encoder)
    (work.output / "texts.jsonl").write_bytes(json_lines(rows))
    summary = found.summary() | {"encoder": encoder.name if encoder is not None else None}
    (work.output / "calibration.json").write_bytes(
        json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode()
    )


STAGE: Stage[CalibrationConfig] = Stage("calibration", 3, _build, runs_model=True)


def calibration_of(evaluation: EvaluationConfig) -> CalibrationConfig:
    """The calibration that fits an evaluation: texts of its length, and enough of them for its count.

    At the default length and up to 128 prompts (those of `standard`) it is the one that `make calibration` builds.
    """
    default = CalibrationConfig()
    return default.model_copy(
        update={"prompts": max(default.prompts, evaluation.prompts), "prompt_tokens": evaluation.prompt_tokens,
                "new_tokens": evaluation.new_tokens, "encoder": bool(evaluation.encoder)}
    )  # fmt: skip


def calibration(config: CalibrationConfig, model: Artifact, corpus: Artifact, store: ArtifactStore) -> Artifact:
    """The calibration of a style and base model: found in the store, or generated and checked.

    Raises:
        ValueError: the corpus holds too little text.
        FloatingPointError: the model gave NaN.
    """
    return store.build(STAGE, config, {"model": model, "corpus": corpus})


def two_sides(documents: Sequence[Document], seed: int) -> tuple[list[Document], list[Document]]:
    """Documents dealt to two sides by writer, the largest first: two thirds of the tokens to the first side, if they allow it."""
    writers = {document.author for document in documents}
    by_writer = len(writers) >= _WRITERS
    groups: dict[str, list[Document]] = {}
    for document in sorted(documents, key=lambda document: document.doc_id):
        groups.setdefault(document.author if by_writer else document.doc_id, []).append(document)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -sum(document.n_tokens for document in groups[name]))
    sides: tuple[list[Document], list[Document]] = ([], [])
    sizes = [0, 0]
    for name in order:
        smaller = 0 if sizes[0] <= 2 * sizes[1] else 1  # the human reference is twice as large as any other set
        sides[smaller].extend(groups[name])
        sizes[smaller] += sum(document.n_tokens for document in groups[name])
    return sides


def _texts(
    config: CalibrationConfig, inputs: Mapping[str, Input], work: Workspace
) -> "tuple[list[dict[str, Any]], dict[float, TextSets]]":  # fmt: skip
    from timbre.inference.prompts import Opening, decoded, openings
    from timbre.inference.session import Session
    from timbre.metrics.calibration import LENGTHS, TextSets

    session = Session(inputs, work, config.batch_tokens, config.seed)
    longest = math.ceil(max(LENGTHS) * config.new_tokens)
    sides = two_sides(read_documents(session.artifact("corpus")), config.seed)
    size = {"prompt_tokens": config.prompt_tokens, "new_tokens": longest, "seed": config.seed}
    human_a = openings(sides[0], session.tokenizer, count=2 * config.prompts, **size)
    human_b = openings(sides[1], session.tokenizer, count=config.prompts, **size)
    count = min(config.prompts, len(human_a) // 2, len(human_b))
    if count < 4:
        raise ValueError(
            f"the corpus holds {len(human_a)} and {len(human_b)} passages of {config.prompt_tokens + longest} tokens on its two sides; "
            "8 and 4 are the least: add documents, or lower new_tokens"
        )
    ids: dict[str, list[Sequence[int]]] = {
        "reference": [prompt.human_ids for prompt in human_a], "human": [prompt.human_ids for prompt in human_b[:count]]
    }  # fmt: skip
    documents = {"reference": [prompt.doc_id for prompt in human_a]}

    def written(name: str, prompts: Sequence[Opening], sampler: SamplerConfig) -> list[Sequence[int]]:
        prompted = [opening.prompt(session.tokenizer, "style") for opening in prompts]
        return [row["token_ids"] for row in session.generate(name, prompted, sampler)]

    for side, prompts in (("anchor", human_a[:count]), ("", human_b[:count])):
        for name, sampler in _SAMPLERS.items():
            if side and name == "base":
                continue
            whole = f"{name}_{side}".rstrip("_")
            ids[whole] = written(whole, prompts, sampler)
            documents[whole] = [prompt.doc_id for prompt in prompts]
    documents["human"] = [prompt.doc_id for prompt in human_b[:count]]
    rows, sets = [], {}
    for length in LENGTHS:
        tokens = round(length * config.new_tokens)
        cut = {name: [decoded(session.tokenizer, each[:tokens]) for each in of] for name, of in ids.items()}
        sets[length] = TextSets(documents=documents["reference"], **cut)
        rows += [
            {"set": name, "length": length, "text": text, "document": document}
            for name in sorted(cut)
            for text, document in zip(cut[name], documents[name], strict=True)
        ]
    return rows, sets
