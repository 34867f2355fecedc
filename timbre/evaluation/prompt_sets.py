"""The prompt sets of a corpus, each in a function: what is asked of every model that is measured on it.

    style         openings of unseen documents, written at the serving sampler, with the human continuation
    style_plain   the same openings at plain sampling (T = 1, nothing cut off); written only where asked for and serving is not plain
    several       some of them again, several texts each
    sentinel      openings of passages that nothing was trained on, others where there are, continued greedily: what a model knows by heart
    instruction   our own short tasks of the style (data/prompts/), in the chat template where the tokenizer has one
    closed_book   short questions about plain facts, several answers each
    copying       passages to summarise and to answer questions about

Memorisation prompts are of a training plan and not of the corpus: see `timbre.evaluation.memorisation`.
A room that asks for more writes a function like these and adds it to `prompt_sets`, behind a count in `PromptConfig`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.config import PromptConfig
from timbre.corpus.documents import Document
from timbre.evaluation.factuality import closed_book, copying
from timbre.inference.prompts import Opening, Prompt, instruction_ids, openings
from timbre.statistics import round_robin
from timbre.tabular import objects_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = 4
"""Human passages below which nothing can be compared: two to go on from, and two more for the human side."""


def prompt_sets(
    config: PromptConfig, documents: Sequence[Document], files: Mapping[str, Path], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[Prompt], list[Opening]]:
    """All prompts, and further unseen human passages of the same length: the other half of the human side.

    Args:
        documents: of all splits.
        files: "instructions", "questions" and "passages": those of the sets that are asked for.

    Raises:
        ValueError: the test split is too small, or a file cannot be read.
    """
    by_split = {split: [document for document in documents if document.split == split] for split in ("test", "validation")}
    test = _windows(by_split["test"], tokenizer, config, 2 * config.prompts)
    more = _windows(by_split["validation"], tokenizer, config, 2 * config.prompts - len(test))  # unseen too, for the human side only
    count = min(config.prompts, len(test), (len(test) + len(more)) // 2)
    if 2 * count < LEAST:
        raise ValueError(
            f"test and validation split hold {len(test)} and {len(more)} passages of {config.prompt_tokens + config.new_tokens} tokens, "
            f"and {LEAST} are the least, 2 of them in the test split: add documents, or lower evaluation.new_tokens"
        )
    style_openings, others = test[:count], [*test[count:], *more]
    prompts = [opening.prompt(tokenizer, "style") for opening in style_openings]
    if config.plain:
        prompts += [replace(prompt, kind="style_plain", sampler="plain") for prompt in prompts]
    some = style_openings[: config.several_prompts]
    prompts += [opening.prompt(tokenizer, "several", samples=config.several_samples) for opening in some]
    prompts += _sentinels(config, by_split, style_openings, others, tokenizer)
    if config.instruction_prompts:
        prompts += _instructions(config, files["instructions"], tokenizer)
    prompts += _about_facts(config, by_split["test"], files, tokenizer)
    return prompts, others


def _windows(documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase", config: PromptConfig, count: int) -> list[Opening]:
    return openings(documents, tokenizer, count=count, prompt_tokens=config.prompt_tokens, new_tokens=config.new_tokens, seed=config.seed)


def human_passages(config: PromptConfig, documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase") -> list[Opening]:
    """Human passages of another style, as many and as long as those of this one."""
    return _windows(documents, tokenizer, config, 2 * config.prompts)


def _sentinels(
    config: PromptConfig, by_split: Mapping[str, Sequence[Document]], style: Sequence[Opening], human: Sequence[Opening],
    tokenizer: "PreTrainedTokenizerBase",
) -> list[Prompt]:  # fmt: skip
    """Of validation documents first, then of test documents, which nothing was trained on: those that no other set has, before
    those of the human side and of the style prompts, which are sampled there and not asked greedily. A single book has no others."""
    taken = {opening.name for opening in (*style, *human)}
    found: list[Opening] = []
    for split in ("validation", "test"):
        if (wanted := config.sentinel_prompts - len(found)) > 0:
            fresh = [opening for opening in _windows(by_split[split], tokenizer, config, wanted + len(taken)) if opening.name not in taken]
            found += fresh[:wanted]
    others = [*human, *style]
    places = round_robin([opening.doc_id for opening in others])
    found += [others[place] for place in places[: config.sentinel_prompts - len(found)]]
    return [opening.prompt(tokenizer, "sentinel", sampler="greedy") for opening in found]


def _about_facts(
    config: PromptConfig, test: Sequence[Document], files: Mapping[str, Path], tokenizer: "PreTrainedTokenizerBase"
) -> list[Prompt]:  # fmt: skip
    prompts: list[Prompt] = []
    if config.closed_book_questions:
        questions = closed_book.read_questions(files["questions"])
        count, samples = config.closed_book_questions, config.closed_book_samples
        prompts += closed_book.prompts(questions, tokenizer, count=count, samples=samples, seed=config.seed)
    if config.copying_passages:
        own = copying.read_passages(files["passages"])
        passages = copying.chosen(own, test, count=config.copying_passages, seed=config.seed)
        prompts += copying.prompts(passages, tokenizer, samples=config.copying_samples)
    return prompts


def _instructions(config: PromptConfig, path: Path, tokenizer: "PreTrainedTokenizerBase") -> list[Prompt]:
    """Up to as many as are asked for, drawn by the seed. Cluster is what is asked for ("describe", "letter", …)."""
    rows = []
    for spot, row in objects_of(path):
        if not all(isinstance(row.get(name), str) and row[name] for name in ("id", "task", "text")):
            raise spot.wrong("needs id, task and text, each a string that is not empty")
        rows.append(row)
    random.Random(config.seed).shuffle(rows)
    return [
        Prompt(row["id"], row["task"], "instruction", row["text"], instruction_ids(row["text"], tokenizer), config.new_tokens)
        for row in rows[: config.instruction_prompts]
    ]
