"""Steps of the road by themselves, as the flow and `timbre corpus add` take them, and prose to give them."""

import random
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, FileInput
from timbre.config import ExportConfig, GateConfig

_WORDS = "the sea was calm and old men told long stories about ships that never came home to any harbour in winter".split()  # noqa: SIM905


def prose(seed: int, sentences: int = 12) -> str:
    """Sentences of nine words that no other seed gives."""
    draw = random.Random(seed)
    return " ".join(" ".join(draw.choices(_WORDS, k=9)).capitalize() + "." for _ in range(sentences))


def add_source(path: Path, style: str, author: str, licence: str, *, home: Path | None = None, **more: Any) -> Path:
    """Register a file or folder as a source of `style`; its entry."""
    from timbre.corpus.adding import Request, add

    return add(Request(path, style, author, licence, **more), home=home).entry


def export_bundle(
    config: ExportConfig, model: Artifact, adapter: Artifact, corpus: Artifact, decoder: Artifact, store: ArtifactStore
) -> Artifact:
    from timbre.export.stage import STAGE

    return store.build(STAGE, config, {"model": model, "adapter": adapter, "corpus": corpus, "decoder": decoder})


def judge_release(config: GateConfig, *, store: ArtifactStore, **inputs: Artifact | FileInput) -> Artifact:
    from timbre.gates.stage import STAGE

    return store.build(STAGE, config, inputs)
