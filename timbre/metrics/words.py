"""Words, tokens and sentences: `timbre.words`, under the name that the metrics had for it."""

from timbre.words import ASKS_OR_EXCLAIMS, beginning, has_word, pieces, scripts, sentences, tokens, words

__all__ = ["ASKS_OR_EXCLAIMS", "beginning", "has_word", "pieces", "scripts", "sentences", "tokens", "words"]
