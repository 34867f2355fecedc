"""How a text becomes tokens: at the beginning of a model's context, and in the middle of it. The one place that decides it.

    document_ids(text, tokenizer)     a beginning: the tokenizer's own start, then the text
    text_ids(text, tokenizer)         a continuation: the text alone
    chat_ids(messages, tokenizer)     a conversation in the tokenizer's chat template, which brings its own start

*Beginning of text.* A model that was trained with a token before every text (Llama, Gemma, Mistral: `<s>`) is another model
without it: what an adapter then learns first is that the token is missing. Whether there is one, and which, is the tokenizer's
own convention: what it puts before plain text when it is asked with special tokens, or what `add_bos_token` in its settings
says. SmolLM2, Qwen and GPT-2 put nothing there, and get nothing. The convention stands in the tokenizer's digest and in
`model.json`, and so in every key.

*Passages.* Every passage of a document begins with that start, those from the middle too: it marks the beginning of what the
model is given, in training (where documents were packed and cut) and whenever a prompt is cut to a context. At the beginning
of a document the start predicts the first token, and that counts. In the middle it does not: which token stands there was
decided by where we cut, and no author wrote it after nothing.

*Control tokens.* Text that spells one (`<|im_end|>`, `</s>`) stays text: only a chat template writes control tokens, and
only in what it adds to the messages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

_PROBE = "a"


def start_ids(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """The tokens that the tokenizer itself puts before a text; none for many. What it puts behind one is not taken."""
    alone = _ids(tokenizer, _PROBE, add_special_tokens=False)
    framed = _ids(tokenizer, _PROBE, add_special_tokens=True)
    place = next((n for n in range(len(framed) - len(alone) + 1) if framed[n : n + len(alone)] == alone), 0)
    return tuple(framed[:place])


def boundary_ids(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """What stands before a text whose very first token is scored: the start; where there is none, the begin token, if any.

    For short texts that are compared whole (probes, test sets): without a condition their first token could not be scored.
    """
    begin = tokenizer.bos_token_id
    return start_ids(tokenizer) or (() if begin is None else (int(begin),))


def text_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A text as it goes on from somewhere: no start, no end, and control tokens that it spells are letters like any others."""
    controls = {token: spelled for token, spelled in control_tokens(tokenizer).items() if token != tokenizer.unk_token_id}
    return _as_text(text, lambda part: _ids(tokenizer, part, add_special_tokens=False, split_special_tokens=True), controls)


def document_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A text at the beginning of a context: the tokenizer's own start, then `text_ids`."""
    return [*start_ids(tokenizer), *text_ids(text, tokenizer)]


def backend_text_ids(text: str, tokenizer: "Tokenizer") -> list[int]:
    """`text_ids` for a plain `tokenizers.Tokenizer`, as serving has it."""
    tokenizer.encode_special_tokens = True
    unknown = getattr(tokenizer.model, "unk_token", None)
    controls = {
        token: added.content
        for token, added in tokenizer.get_added_tokens_decoder().items()
        if added.special and added.content != unknown
    }  # fmt: skip
    return _as_text(text, lambda part: list(tokenizer.encode(part, add_special_tokens=False).ids), controls)


def control_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[int, str]:
    """The tokens that structure a text instead of being in it: id -> how it is spelled."""
    return {int(token): added.content for token, added in tokenizer.added_tokens_decoder.items() if added.special}


def vocabulary_size(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The largest id and one: not `len(tokenizer)`, since ids may have gaps and an end token lie far above the others."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def unused_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The gaps: ids below `vocabulary_size` that stand for no token."""
    return sorted(set(range(vocabulary_size(tokenizer))) - set(tokenizer.get_vocab().values()))


@dataclass(frozen=True)
class Rendered:
    """Messages in a chat template: pieces of text in order, each with whether a message (True) or the template (False) wrote it."""

    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return "".join(piece for piece, _ in self.pieces)

    def after(self, length: int) -> "Rendered":
        """Without its first `length` characters."""
        kept = []
        for piece, written in self.pieces:
            kept.append((piece[length:], written))
            length = max(0, length - len(piece))
        return Rendered(tuple(kept))

    def stripped(self, characters: str) -> "Rendered":
        """Without these characters at its end."""
        excess = len(self.text) - len(self.text.rstrip(characters))
        kept: list[tuple[str, bool]] = []
        for piece, written in reversed(self.pieces):
            kept.insert(0, (piece[: len(piece) - min(excess, len(piece))], written))
            excess -= min(excess, len(piece))
        return Rendered(tuple(kept))

    def ids(self, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
        """Tokens: control tokens where the template wrote them, letters where a message spells them."""
        controls = control_tokens(tokenizer)
        if not any(spelled in piece for piece, written in self.pieces if written for spelled in controls.values()):
            return _ids(tokenizer, self.text, add_special_tokens=False)
        # As the tokenizer does it, but for what messages spell: cut at the control tokens, and each stretch between by itself.
        numbers = {spelled: token for token, spelled in controls.items()}
        pattern = re.compile("(" + "|".join(re.escape(spelled) for spelled in sorted(numbers, key=len, reverse=True)) + ")")
        found: list[int] = []
        stretch = ""
        for piece, written in self.pieces:
            for part in [piece] if written else pattern.split(piece):
                if not written and part in numbers:
                    found += [*text_ids(stretch, tokenizer), numbers[part]]
                    stretch = ""
                else:
                    stretch += part
        return [*found, *text_ids(stretch, tokenizer)]


def rendered(messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", *, generation_prompt: bool = True) -> Rendered:
    """Messages ({role, content}) in the tokenizer's chat template.

    Args:
        generation_prompt: with the beginning of an answer behind them.

    Raises:
        ValueError: a message spells a control token and the template changes the message, so that what is whose cannot be told.
    """
    text = _templated(messages, tokenizer, generation_prompt)
    spelled = control_tokens(tokenizer).values()
    if not any(control in message["content"] for message in messages for control in spelled):
        return Rendered(((text, False),))
    marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
    marked = _templated(
        [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)], tokenizer, generation_prompt
    )  # fmt: skip
    frame = re.split("\ue000\\d+\ue001", marked)
    order = [int(number) for number in re.findall("\ue000(\\d+)\ue001", marked)]
    for change in (str, str.strip):
        told = [change(messages[number]["content"]) for number in order]
        pieces = [(frame[0], False)]
        for content, behind in zip(told, frame[1:], strict=True):
            pieces += [(content, True), (behind, False)]
        if (whole := Rendered(tuple(pieces))).text == text:
            return whole
    raise ValueError(
        "a message spells one of the tokenizer's control tokens, and its chat template changes messages, so that it cannot stay text: "
        "take it out of the message"
    )


def chat_ids(messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", *, generation_prompt: bool = True) -> list[int]:
    """A conversation as tokens. It begins as the template says, which is the convention of chat models: nothing is put before it."""
    return rendered(messages, tokenizer, generation_prompt=generation_prompt).ids(tokenizer)


def _templated(messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool) -> str:
    given: Any = [dict(message) for message in messages]
    return str(tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=generation_prompt))


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str, **options: bool) -> list[int]:
    found: Any = tokenizer(text, verbose=False, **options)["input_ids"]
    return list(found)


def _as_text(text: str, encode: Callable[[str], list[int]], controls: Mapping[int, str]) -> list[int]:
    """Tokens of a text without control tokens.

    Tokenizers that pick whole words (Unigram, WordLevel) find `</s>` in their vocabulary even where it is told to be text; there
    its first letter is cut off.
    """
    ids = encode(text)
    here = [controls[token] for token in set(ids) & controls.keys()]
    if (spelled := next((one for one in sorted(here) if len(one) > 1 and one in text), None)) is None:
        return ids
    before, _, behind = text.partition(spelled)
    return [token for part in (before, spelled[:1], spelled[1:], behind) if part for token in _as_text(part, encode, controls)]
