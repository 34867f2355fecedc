"""What a model is asked to write: frozen prompts, and where in human text they come from.

A prompt is drawn by the evaluation's own seed and knows everything that its texts are measured with later, so that base,
baseline and candidate answer the same prompts and whoever measures needs neither corpus nor model.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from timbre.artifacts import json_lines
from timbre.corpus.documents import Document
from timbre.models.tokens import chat_ids, document_ids, start_ids, text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SamplerName = Literal["serving", "plain", "greedy"]


@dataclass(frozen=True)
class Prompt:
    """One question to a model; `samples` texts of exactly `new_tokens` tokens answer it."""

    prompt_id: str
    """Unique within its kind."""
    cluster: str
    """Document, template or fact: what statistics cluster by."""
    kind: str
    """The prompt set: "style", "style_plain", "several", "memorisation", "sentinel", "instruction", …"""
    text: str
    """As a person reads it, before the chat template, if any."""
    token_ids: tuple[int, ...]
    """What the model is fed."""
    new_tokens: int
    sampler: SamplerName = "serving"
    samples: int = 1
    human: str = ""
    """The human continuation, where there is one."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What the measuring room needs: group, template, answer, passage…"""


@dataclass(frozen=True)
class Opening:
    """The first tokens of a window of a document, and the human tokens that follow them there."""

    name: str
    doc_id: str
    token_ids: tuple[int, ...]
    human_ids: tuple[int, ...]

    def prompt(self, tokenizer: "PreTrainedTokenizerBase", kind: str, sampler: SamplerName = "serving", samples: int = 1) -> Prompt:
        """The prompt to go on from here for as long as the human text does, behind the tokenizer's own start as in training."""
        return Prompt(
            self.name, self.doc_id, kind, decoded(tokenizer, self.token_ids), (*start_ids(tokenizer), *self.token_ids),
            len(self.human_ids), sampler, samples, decoded(tokenizer, self.human_ids),
        )  # fmt: skip


def openings(
    documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase", *, count: int, prompt_tokens: int, new_tokens: int, seed: int
) -> list[Opening]:
    """Up to `count` windows of exactly prompt_tokens + new_tokens tokens: one of every document before the second of any.

    Shorter windows are passed over. Documents are tokenised without the tokenizer's start, in an order drawn by `seed`, and only
    as far as `count` needs. Fewer come back when the documents hold no more.
    """
    order = sorted(documents, key=lambda document: document.doc_id)
    random.Random(seed).shuffle(order)
    length = prompt_tokens + new_tokens
    windows = [_windows(document, tokenizer, length) for document in order]
    found: list[Opening] = []
    while windows and len(found) < count:
        live = []
        for source in windows:
            if len(found) == count:
                break
            if (window := next(source, None)) is not None:
                name, doc_id, ids = window
                found.append(Opening(name, doc_id, ids[:prompt_tokens], ids[prompt_tokens:]))
                live.append(source)
        windows = live
    return found


def trained_openings(
    passages: Sequence[tuple[str, int]], documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase",
    *, count: int, prompt_tokens: int, new_tokens: int, seed: int,
) -> list[Opening]:  # fmt: skip
    """Openings of up to `count` passages of a training plan, given as (doc_id, first token of the passage).

    Raises:
        ValueError: a passage is of a document that is not among `documents`.
    """
    texts = {document.doc_id: document.text for document in documents}
    order = sorted(set(passages))
    random.Random(seed).shuffle(order)
    found: list[Opening] = []
    for doc_id, start in order:
        if doc_id not in texts:
            raise ValueError(f"the target holds a passage of document {doc_id}, which is not in this corpus' training split")
        if len(found) == count:
            break
        ids = _token_ids(texts[doc_id], tokenizer)[start : start + prompt_tokens + new_tokens]
        if len(ids) == prompt_tokens + new_tokens:
            found.append(Opening(f"{doc_id}@{start}", doc_id, ids[:prompt_tokens], ids[prompt_tokens:]))
    return found


def instruction_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """An instruction as the model is fed it: in its chat template, or plain and followed by an empty line where it has none."""
    if not tokenizer.chat_template:
        return tuple(document_ids(f"{text}\n\n", tokenizer))
    return tuple(chat_ids([{"role": "user", "content": text}], tokenizer))


def decoded(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> str:
    """The text of some tokens, without special ones; human and generated texts all come from here, wherever they are cut."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    assert isinstance(text, str)
    return text


def write_prompts(prompts: Sequence[Prompt], path: Path) -> None:
    """One JSON object a line."""
    path.write_bytes(json_lines(asdict(prompt) for prompt in prompts))


def read_prompts(path: Path) -> list[Prompt]:
    """What `write_prompts` wrote."""
    rows = (json.loads(line) for line in path.read_bytes().splitlines())
    return [Prompt(**(row | {"token_ids": tuple(row["token_ids"])})) for row in rows]


def _windows(document: Document, tokenizer: "PreTrainedTokenizerBase", length: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    ids = _token_ids(document.text, tokenizer)
    for index, start in enumerate(range(0, len(ids) - length + 1, length)):
        yield f"{document.doc_id}#{index}", document.doc_id, ids[start : start + length]


def _token_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    return tuple(text_ids(text, tokenizer))
