"""Token ids to text while they come, without ever showing half a character."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HALF = "�"
"""What decoders put for bytes that are not (yet) UTF-8."""


class Detokenizer:
    """Turns ids into pieces of text whose concatenation is the text of all ids.

    Decoding each token alone is wrong twice: a character may be spread over tokens, and decoders treat the space before
    the first token in their own way. So the tokens of the last piece (at first: of the prompt) are decoded with and without
    the new ones, and the difference is the piece; while it ends in an unfinished character it is held back.
    """

    def __init__(self, tokenizer: "Tokenizer", prompt_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids)  # all of it: a window cut inside a character would decode to something else
        self._shown = len(self._ids)
        self._start = 0

    def push(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        self._ids.append(token_id)
        piece = self._pending()
        if not piece or piece.endswith(_HALF):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return piece

    def flush(self) -> str:
        """What is left at the end, without an unfinished last character."""
        return self._pending().rstrip(_HALF)

    def _pending(self) -> str:
        before = self._decode(self._ids[self._start : self._shown])
        after = self._decode(self._ids[self._start :])
        return after[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)
