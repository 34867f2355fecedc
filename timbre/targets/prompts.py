"""The format `instruction`: a passage as the answer to a prompt in the model's chat template; only the answer is learnt.

A prompt is made from what the passage brings along: the document's title, the passage's own opening, or its most telling
words. Which of them, is drawn from the passage's name, so that a build that goes on makes the same prompts.
"""

import math
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from timbre.config import TargetConfig
from timbre.corpus.passages import Passage
from timbre.models.tokens import chat_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TITLE_LIMIT, _OPENING, _KEYWORDS = 80, (6, 24), 3
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True)
class PromptMaker:
    """Prompts of passages.

    Args:
        texts: of the documents, for titles.
        frequency: in how many passages each word stands.
        passages: how many there are.
    """

    tokenizer: "PreTrainedTokenizerBase"
    texts: Mapping[str, str]
    frequency: Mapping[str, int]
    passages: int
    context: int

    def instruct(self, passage: Passage) -> Passage:
        """The passage behind a prompt; shortened at its end where the context is too small for both.

        Raises:
            ValueError: the prompt alone fills the context.
        """
        words, spoken = self.words(passage)
        ids = chat_ids([{"role": "user", "content": words}], self.tokenizer)
        answer = passage.text_ids[spoken:][: self.context - len(ids)]
        if len(answer) == 0:
            raise ValueError(
                f"a prompt of {len(ids)} tokens fills the model's context of {self.context}: leave 'instruction' out of target.formats"
            )
        return replace(passage, token_ids=np.concatenate([np.asarray(ids, np.int32), answer]), first_label=len(ids), start=0)

    def words(self, passage: Passage) -> tuple[str, int]:
        """The words, and how many tokens of the passage they have said already."""
        title, keywords = _title(self.texts.get(passage.doc_id, "")), self._keywords(passage)
        kinds = [*(["title"] if title else []), *(["keywords"] if keywords else []), *(["opening"] if len(passage.text_ids) > 8 else [])]
        kind = kinds[zlib.crc32(f"{passage.doc_id} {passage.index}".encode()) % len(kinds)] if kinds else ""
        if kind == "title":
            return f"Write a passage from “{title}”.", 0
        if kind == "keywords":
            return f"Write a passage that speaks of {', '.join(keywords[:-1])} and {keywords[-1]}.", 0
        if kind == "opening":
            spoken = min(max(_OPENING[0], len(passage.text_ids) // 8), _OPENING[1])
            return f"Go on writing: {str(self.tokenizer.decode(passage.text_ids[:spoken])).strip()}", spoken
        return "Write a passage.", 0

    def _keywords(self, passage: Passage) -> list[str]:
        counts = words_of(str(self.tokenizer.decode(passage.text_ids)))
        telling = {word: count * math.log((1 + self.passages) / (1 + self.frequency.get(word, 0))) for word, count in counts.items()}
        best = sorted((word for word in telling if telling[word] > 0), key=lambda word: (-telling[word], word))[:_KEYWORDS]
        return best if len(best) == _KEYWORDS else []


def maker_of(passages: Sequence[Passage], tokenizer: "PreTrainedTokenizerBase", texts: Mapping[str, str], context: int) -> PromptMaker:
    """What makes the prompts of these passages: their words are telling beside each other's."""
    frequency: Counter[str] = Counter()
    for passage in passages:
        frequency.update(words_of(str(tokenizer.decode(passage.text_ids))).keys())
    return PromptMaker(tokenizer, texts, frequency, len(passages), context)


def words_of(text: str) -> "Counter[str]":
    """Words of four letters and more, in small letters."""
    return Counter(match.group().lower() for match in _WORD.finditer(text))


def formatted(
    passages: Sequence[Passage], config: TargetConfig, tokenizer: "PreTrainedTokenizerBase", texts: Mapping[str, str], context: int
) -> list[Passage]:
    """Passages in the configured formats, which take turns; continuations alone, and a warning, without a chat template.

    Raises:
        ValueError: 'instruction' alone, with a tokenizer that has no chat template.
    """
    if config.formats == ("continuation",):
        return list(passages)
    if not tokenizer.chat_template:
        if "continuation" not in config.formats:
            raise ValueError(
                'the model\'s tokenizer has no chat template: set target.formats to ["continuation"], or use an instruction model'
            )
        warnings.warn("the tokenizer has no chat template: target.formats is cut to continuation, no instructions are learnt", stacklevel=2)
        return list(passages)
    maker = maker_of(passages, tokenizer, texts, context)
    turns = [config.formats[place % len(config.formats)] for place in range(len(passages))]
    return [maker.instruct(passage) if turn == "instruction" else passage for passage, turn in zip(passages, turns, strict=True)]


def _title(text: str) -> str:
    """A short first line that is no sentence and has text below it."""
    first, line, rest = text.strip().partition("\n")
    return (
        first.strip()
        if line and rest.strip() and 0 < len(first.strip()) <= _TITLE_LIMIT and not first.rstrip().endswith((".", ","))
        else ""
    )
