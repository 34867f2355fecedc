"""Copies of the human side are found wherever the cut falls, and what lies furthest is really far."""

from pathlib import Path
from typing import Any

import numpy as np

from timbre.metrics.comparison import Request, compare_texts, copied
from timbre.metrics.comparison_verdict import oddness
from timbre.metrics.measuring import Figure, Human


def folder(path: Path, texts: list[str]) -> Path:
    path.mkdir()
    for index, text in enumerate(texts):
        (path / f"{index:03}.txt").write_text(text, encoding="utf-8")
    return path


def test_a_preface_does_not_hide_that_the_texts_are_the_same(tmp_path: Path, write: Any) -> None:
    texts = write(12, 200, 1)
    human = folder(tmp_path / "human", texts)
    moved = folder(tmp_path / "moved", [f"A preface of five words. {text}" for text in texts])
    found = compare_texts(Request(moved, human, words=60))
    assert found.verdict == "INCONCLUSIVE" and found.copied > 0.9 * found.read["texts"]["passages"]
    assert "stand on the human side too, word for word" in found.why


def test_what_two_writers_have_in_common_is_no_copy() -> None:
    human = ["one two three four five six seven eight nine ten eleven twelve"]
    assert copied(["one two three four five six seven eight"], human) == 1
    assert copied(["one two three four five six seven eight then all of it was new and never heard of before"], human) == 0
    assert copied(["too short", ""], human) == 0


def test_what_lies_at_the_human_mean_is_not_named_among_the_furthest(tmp_path: Path, write: Any) -> None:
    human, own = folder(tmp_path / "human", write(110, 64, 1)), folder(tmp_path / "own", write(54, 64, 3, "greedy"))
    found = compare_texts(Request(own, human, words=60, most=54))
    assert found.verdict == "told apart" and "(+0.0σ)" not in found.why and "(-0.0σ)" not in found.why


def test_no_distance_is_less_than_any_and_no_value_is_the_furthest() -> None:
    human = Human(0.5, 0.1, np.array([0.4, 0.6]))
    there, far, none = (oddness(Figure("mattr", value, None, human, np.array([]))) for value in (0.5, 0.9, None))
    assert there == 0 < far < none
