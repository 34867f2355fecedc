"""One text while it is written: its pieces, where a stop string cuts it, and what each token weighed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from timbre.export.session import Logits
from timbre.inference.arrays import log_softmax
from timbre.serving.detokenizer import Detokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Weighed:
    """One token and its natural log-probability under the model as it is: at temperature 1, before any control.

    Attributes:
        text: what the token completed; pieces joined are the text. Empty within a character of several tokens.
        token: its bytes as the vocabulary spells them.
        top: the likeliest tokens at its place with theirs, best first.
    """

    token_id: int
    token: str
    text: str
    logprob: float
    top: tuple[tuple[int, str, float], ...]


@dataclass(frozen=True)
class Piece:
    """Text that will not change any more, and the tokens (only where they were asked for) that ended in it."""

    text: str
    weighed: tuple[Weighed, ...] = ()


@dataclass
class Passage:
    """Turns token ids into pieces, and ends at the first stop string, which is not part of the text."""

    tokenizer: "Tokenizer"
    prompt_ids: Sequence[int]
    stops: Sequence[str] = ()
    top: int | None = None
    """How many likeliest tokens to tell of beside each; None: no log-probabilities at all."""
    tokens: int = 0
    _held: str = ""
    _weighed: list[Weighed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._text = Detokenizer(self.tokenizer, self.prompt_ids)

    def push(self, token_id: int, logits_V: Logits) -> tuple[Piece | None, bool]:
        """Take a token and the logits it was drawn from; the piece it settles, and whether a stop string has ended the text."""
        self.tokens += 1
        new = self._text.push(token_id)
        if self.top is not None:
            self._weighed.append(_weigh(self.tokenizer, token_id, new, logits_V, self.top))
        return self._settle(new)

    def end(self) -> tuple[Piece | None, bool]:
        """The rest of the text, and whether a stop string was in it."""
        piece, stopped = self._settle(self._text.flush())
        if stopped:
            return piece, True
        rest = Piece((piece.text if piece else "") + self._held, (piece.weighed if piece else ()) + tuple(self._weighed))
        self._held, self._weighed = "", []
        return (rest if rest.text or rest.weighed else None), False

    def _settle(self, new: str) -> tuple[Piece | None, bool]:
        if not new:
            return None, False
        self._held += new
        found = [place for stop in self.stops if (place := self._held.find(stop)) >= 0]
        if found:
            return self._piece(min(found), stopped=True), True
        unsure = max((_overlap(self._held, stop) for stop in self.stops), default=0)
        return self._piece(len(self._held) - unsure), False

    def _piece(self, length: int, *, stopped: bool = False) -> Piece | None:
        text, self._held = self._held[:length], self._held[length:]
        if stopped:  # a token that lies across the cut is told of: it was drawn
            piece = Piece(text, tuple(self._weighed))
            self._held, self._weighed = "", []
            return piece if piece.text or piece.weighed else None
        if not text:
            return None
        if self._held:
            return Piece(text) if not self._weighed else Piece(text, self._through(len(text)))
        weighed, self._weighed = tuple(self._weighed), []
        return Piece(text, weighed)

    def _through(self, characters: int) -> tuple[Weighed, ...]:
        """Take the tokens whose text lies within the first characters of what was held."""
        taken = 0
        while taken < len(self._weighed) and characters >= len(self._weighed[taken].text):
            characters -= len(self._weighed[taken].text)
            taken += 1
        done, self._weighed = tuple(self._weighed[:taken]), self._weighed[taken:]
        return done


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` could be the beginning of `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


def _weigh(tokenizer: "Tokenizer", token_id: int, text: str, logits_V: Logits, top: int) -> Weighed:
    logprobs_V = log_softmax(logits_V)
    best = np.argpartition(-logprobs_V, top - 1)[:top] if 0 < top < len(logprobs_V) else np.arange(len(logprobs_V))[: top or 0]
    best = best[np.lexsort((best, -logprobs_V[best]))]
    return Weighed(
        token_id, spelled(tokenizer, token_id), text, float(logprobs_V[token_id]),
        tuple((int(one), spelled(tokenizer, int(one)), float(logprobs_V[one])) for one in best),
    )  # fmt: skip


def spelled(tokenizer: "Tokenizer", token_id: int) -> str:
    """A token alone as text; a half character is U+FFFD."""
    return tokenizer.decode([token_id], skip_special_tokens=False)
