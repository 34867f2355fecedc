"""The accuracy term's own text: facts and instructions that a model should not forget while it learns a style."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.models.tokens import document_ids, rendered, text_ids
from timbre.training.data import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FILES = ("replay", "refusals")
"""Inputs of a student that are such files: facts and instructions, and, where they are practised, refusals with their harmless twins."""
KINDS = ("fact", "instruction", "refusal")


@dataclass(frozen=True)
class ReplayItem:
    """A question, an instruction or a harmful request, and the answer that is to stay, or to become, likely."""

    id: str
    kind: str
    prompt: str
    answer: str


def read_replay(*paths: Path) -> list[ReplayItem]:
    """The items of JSON-lines files with id, kind (fact, instruction or refusal), prompt and answer.

    Raises:
        ValueError: a line that is not such an item, or an id twice; the sentence names file and line.
    """
    items: dict[str, ReplayItem] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            item = _item(line, f"{path.name} line {number}")
            if item.id in items:
                raise ValueError(f"{path.name} line {number}: the id {item.id!r} was used before")
            items[item.id] = item
    return list(items.values())


def _item(line: str, where: str) -> ReplayItem:
    try:
        value: Any = json.loads(line)
        item = ReplayItem(**{name: value[name] for name in ("id", "kind", "prompt", "answer")})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: not a JSON object with id, kind, prompt and answer ({error})") from error
    if item.kind not in KINDS or not all(isinstance(text, str) and text.strip() for text in (item.prompt, item.answer)):
        raise ValueError(f"{where}: kind must be fact, instruction or refusal, and prompt and answer must hold text")
    return item


def encode_replay(items: list[ReplayItem], tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> list[Example]:
    """Prompt and answer as tokens, the loss on the answer only; in the chat template if the tokenizer has one.

    Raises:
        ValueError: an item longer than the model's context.
    """
    return [_encode(item, tokenizer, max_tokens) for item in items]


def _encode(item: ReplayItem, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> Example:
    prompt_ids, answer_ids = _chat(item, tokenizer) if tokenizer.chat_template else _plain(item, tokenizer)
    token_ids = np.asarray([*prompt_ids, *answer_ids], dtype=np.int32)
    if len(token_ids) > max_tokens:
        raise ValueError(f"replay item {item.id!r} has {len(token_ids)} tokens, the model reads {max_tokens}: shorten it")
    return Example(token_ids, first_label=len(prompt_ids))


def _chat(item: ReplayItem, tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    question = [{"role": "user", "content": item.prompt}]
    prompt = rendered(question, tokenizer)
    whole = rendered([*question, {"role": "assistant", "content": item.answer}], tokenizer, generation_prompt=False)
    if whole.text.startswith(prompt.text):
        return prompt.ids(tokenizer), whole.after(len(prompt.text)).stripped("\n").ids(tokenizer)
    # Some templates change what stands before the answer once there is one; then only the answer itself is taken.
    return prompt.ids(tokenizer), [*text_ids(item.answer, tokenizer), *_end(tokenizer)]


def _plain(item: ReplayItem, tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    return document_ids(item.prompt.rstrip(), tokenizer), [*text_ids(f" {item.answer.strip()}", tokenizer), *_end(tokenizer)]


def _end(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    return [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
