"""Written principles: P ∝ P·exp(β·r(token, context)), each a TOML file with words for people and a scorer for r.

    name = "plain-speech"
    statement = "Say it in plain words."
    kind = "reference"

Kinds of scorer:

- `lexicon`    r is a weight for each listed word that the tokenizer spells with one token, 0 elsewhere; words of several
               tokens are left out, with a warning that counts them.
- `reference`  r = log P(token | statement, context) − log P(token | context) of the un-adapted reference, within ±`limit`.
- `classifier` r = log P(kept | context, token) by probes learnt from examples that keep it and that break it, above −`limit`
               (`timbre.targets.classifier`).
- `swap`       no reweighting: a table of words that are exchanged (`timbre.targets.debias`).

Files lie in data/principles/, one's own in <home>/principles/. Their bytes are an input of the target's stage.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from timbre.config import Frozen, read_toml
from timbre.models.tokens import document_ids, text_ids
from timbre.settings import settings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

FOLDER = "principles"
LEAST_EXAMPLES = 4
"""Of a classifier, a side."""


class Principle(Frozen):
    """One file."""

    name: str = Field(pattern=r"[a-z0-9][a-z0-9-]{0,47}")
    statement: str = Field(min_length=1, description="The principle, as one would say it to a writer.")
    kind: Literal["lexicon", "reference", "classifier", "swap"]
    words: dict[str, float] = Field(default_factory=dict, description="lexicon: weight of each word, -1..1.")
    limit: float = Field(5.0, gt=0, allow_inf_nan=False, description="reference: r stays within ±limit, in nats; classifier: above −limit.")
    follows: tuple[str, ...] = Field((), description="classifier: texts that keep the principle.")
    breaks: tuple[str, ...] = Field((), description="classifier: texts that break it.")
    pairs: tuple[tuple[str, str], ...] = Field((), description="swap: words of equal standing.")

    @model_validator(mode="after")
    def _complete(self) -> "Principle":
        needed = {"lexicon": self.words, "swap": self.pairs}
        if self.kind in needed and not needed[self.kind]:
            missing = {"lexicon": "words", "swap": "pairs"}[self.kind]
            raise ValueError(f"a principle of kind {self.kind!r} needs {missing!r}")
        if self.kind == "classifier" and min(len(self.follows), len(self.breaks)) < LEAST_EXAMPLES:
            raise ValueError(
                f"a principle of kind 'classifier' needs {LEAST_EXAMPLES} texts or more in 'follows' and in 'breaks', "
                f"got {len(self.follows)} and {len(self.breaks)}"
            )
        if not all(-1 <= weight <= 1 for weight in self.words.values()):
            raise ValueError("the weights of words must lie in -1..1; the strength of a principle is set where it is used")
        return self


class Scorer(Protocol):
    """r of one principle."""

    @property
    def prefix(self) -> npt.NDArray[np.int64]:
        """Tokens that the un-adapted reference reads before each passage for `conditioned_nV`; empty where nothing is wanted."""
        ...

    def scores(self, native_nV: "Tensor", conditioned_nV: "Tensor | None", hidden_nD: "Tensor") -> "Tensor":
        """r at n positions, n×V or V.

        Args:
            native_nV: log-probabilities of the un-adapted reference.
            conditioned_nV: the same after the prefix.
            hidden_nD: its last hidden states, for classifiers.
        """
        ...


def principle_paths() -> dict[str, Path]:
    """Every known principle by name: shipped ones and the user's own."""
    found = {path.stem: path for path in sorted((settings().home / FOLDER).glob("*.toml"))}
    return found | settings().files(f"data/{FOLDER}")


def principle_path(name: str) -> Path:
    """The file of a principle.

    Raises:
        ValueError: there is none; the sentence lists those that exist.
    """
    paths = principle_paths()
    if name not in paths:
        raise ValueError(
            f"unknown principle {name!r}: known are {', '.join(paths) or 'none'}; write {FOLDER}/{name}.toml in the home folder"
        )
    return paths[name]


def scorer_of(principle: Principle, tokenizer: "PreTrainedTokenizerBase", vocab_size: int, network: Callable[[], Any]) -> Scorer:
    """The scorer of a principle for a tokenizer.

    Args:
        network: loads the un-adapted reference, which a classifier reads its examples with.

    Raises:
        ValueError: a classifier that cannot be learnt, a lexicon without any single-token word, or a table of swaps.
    """
    match principle.kind:
        case "lexicon":
            return Lexicon(*_lexicon_scores(principle, tokenizer, vocab_size))
        case "reference":
            ids = text_ids(principle.statement.strip() + "\n\n", tokenizer)
            return Conditioned(np.asarray(ids, dtype=np.int64), principle.limit)
        case "classifier":
            from timbre.targets.classifier import fit_classifier

            follows, breaks = (
                [np.asarray(document_ids(text.strip(), tokenizer), dtype=np.int64) for text in side]
                for side in (principle.follows, principle.breaks)
            )
            reference = network()
            try:
                return fit_classifier(follows, breaks, reference, vocab_size, principle.limit)
            except ValueError as error:
                raise ValueError(f"the principle {principle.name!r}: {error}") from error
        case "swap":
            raise ValueError(f"{principle.name!r} is a table of swaps: name it in target.debias, not in target.principles")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The same weights in every context."""

    weights_V: npt.NDArray[np.float32]
    left_out: tuple[str, ...]
    """Words of several tokens."""

    @property
    def prefix(self) -> npt.NDArray[np.int64]:
        return np.zeros(0, np.int64)

    def scores(self, native_nV: "Tensor", conditioned_nV: "Tensor | None", hidden_nD: "Tensor") -> "Tensor":
        import torch

        return torch.from_numpy(self.weights_V).to(native_nV.device)


@dataclass(frozen=True, eq=False)
class Conditioned:
    """How much likelier a token becomes once the principle has been read."""

    prefix: npt.NDArray[np.int64]
    limit: float

    def scores(self, native_nV: "Tensor", conditioned_nV: "Tensor | None", hidden_nD: "Tensor") -> "Tensor":
        assert conditioned_nV is not None, "the prefix was read"
        return (conditioned_nV - native_nV).clamp(-self.limit, self.limit)


def spellings(word: str) -> Iterator[str]:
    """A word inside a line and at its beginning, as it is, with a capital, and in capitals: six, in the order of any other's."""
    for form in (word, word[:1].upper() + word[1:], word.upper()):
        yield f" {form}"
        yield form


def token_of(spelling: str, tokenizer: "PreTrainedTokenizerBase") -> Sequence[int]:
    """The tokens of a spelling, without special ones."""
    return tuple(text_ids(spelling, tokenizer))


def _lexicon_scores(
    principle: Principle, tokenizer: "PreTrainedTokenizerBase", vocab_size: int
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    weights, left_out = np.zeros(vocab_size, np.float32), []
    for word, weight in principle.words.items():
        tokens = [ids[0] for spelling in spellings(word) if len(ids := token_of(spelling, tokenizer)) == 1 and ids[0] < vocab_size]
        if not tokens:
            left_out.append(word)
        weights[tokens] = weight
    if len(left_out) == len(principle.words):
        raise ValueError(
            f"the principle {principle.name!r} lists no word that this tokenizer spells with one token: use kind = 'reference'"
        )
    if left_out:
        warnings.warn(
            f"principle {principle.name!r}: {len(left_out)} words take several tokens and are left out, such as {left_out[0]!r}",
            stacklevel=2,
        )
    return weights, tuple(left_out)


def read_all(files: Mapping[str, Path]) -> dict[str, Principle]:
    """Principles by name, from the stage's inputs.

    Raises:
        ValueError: a file whose name is not that of its principle.
    """
    found = {name: read_toml(path, Principle) for name, path in files.items()}
    for name, principle in found.items():
        if principle.name != name:
            raise ValueError(f"{files[name].name} calls itself {principle.name!r}: write name = {name!r}")
    return found
