"""Pairs that a judge can tell apart: side A says "quiet", side B "golden"; which is longer changes from pair to pair."""

import json
from pathlib import Path

import pytest

from timbre.judging.pairs import Pair


def made_pairs(count: int, clusters: int | None = None) -> list[Pair]:
    pairs = []
    for number in range(count):
        a = f"A quiet harbour number {number}" + " and a gull" * (number % 3)
        b = f"The golden harbour number {number}" + " of timeless wonder" * ((number + 1) % 3)
        pairs.append(Pair(f"pair-{number}", f"document-{number % (clusters or count)}", f"Prompt {number}:", a, b))
    return pairs


@pytest.fixture
def pairs() -> list[Pair]:
    return made_pairs(24, 12)


@pytest.fixture
def sides(tmp_path: Path, pairs: list[Pair]) -> tuple[Path, Path]:
    """The pairs as two JSONL files."""
    files = tmp_path / "machine.jsonl", tmp_path / "human.jsonl"
    for file, side in zip(files, "ab", strict=True):
        rows = [{"prompt": pair.prompt, "doc_id": pair.cluster, "text": getattr(pair, side)} for pair in pairs]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files
