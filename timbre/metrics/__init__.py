"""Metrics: texts in, figures out. No model is run here, and what is imported is light."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timbre.metrics.comparison import Comparison

__all__ = ["compare"]


def compare(
    texts: Iterable[str] | Path, human: Iterable[str] | Path, *, words: int = 150, most: int = 400, seed: int = 0
) -> "Comparison":  # fmt: skip
    """Texts against human ones: every metric with its human band and 95% interval, and whether the two are told apart.

    The same as `timbre evaluate TEXTS --against HUMAN`, without a page. No model is run.

    Args:
        texts: strings, each a document of its own, or a file or folder.
        human: the same, of human text.
        words: both sides are cut into passages of exactly so many words; shorter texts are left out, and counted.
        most: passages of a side at most (twice as many human ones).
        seed: of the halves that the human side is dealt to.

    Returns:
        `verdict` ("told apart", "not told apart" or "INCONCLUSIVE"), `why` in a sentence, `figures` by metric; `summary()` is all
        of it as plain values.

    Raises:
        ValueError: a path cannot be read, a side is a single string or holds what is none, or `words` or `most` is below 1.
    """
    from timbre.metrics.comparison import Request, compare_texts
    from timbre.metrics.texts import Text

    def side(given: Iterable[str] | Path, name: str) -> "Path | tuple[Text, ...]":
        if isinstance(given, Path):
            return given
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            found = "one string" if isinstance(given, str | bytes) else f"a {type(given).__name__}"
            raise ValueError(f"the {name} are {found}: give a list of texts, or a Path")
        listed = list(given)
        for number, text in enumerate(listed):
            if not isinstance(text, str):
                raise ValueError(f"number {number} of the {name} is a {type(text).__name__}: each is a string")
        return tuple(Text(text, f"{name} {number}") for number, text in enumerate(listed))

    for what, value in (("words", words), ("most", most)):
        if value < 1:
            raise ValueError(f"{what} is {value}: give at least 1")
    return compare_texts(Request(side(texts, "texts"), side(human, "human texts"), words, most, seed=seed))
