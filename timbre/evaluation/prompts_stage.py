"""The stage "prompts": what every model that is measured on a corpus is asked, frozen and hashed.

It depends on the corpus, on the tokenizer on our instructions where some are asked for, and on nothing that is trained: another target
or another seed asks the same, so that what the base wrote once is found again. Of the model only the tokenizer is used.

Files of the artifact:
    prompts.jsonl   one `Prompt` a line
    human.jsonl     {cluster, text} a line: further unseen human passages, as long as the continuations
    voices.jsonl    {style, cluster, text} a line: human passages of other styles; only where `voice_against` names some
    summary.json    how many prompts of each kind, how many human passages
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact, FileInput, Input, Stage, Workspace, json_lines
from timbre.config import PromptConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from timbre.inference.prompts import Prompt


def _build(config: PromptConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from collections import Counter

    from timbre.corpus.documents import read_documents
    from timbre.evaluation.prompt_sets import human_passages, prompt_sets
    from timbre.inference.prompts import decoded, write_prompts
    from timbre.models import load_tokenizer

    corpus, model = inputs["corpus"], inputs["model"]
    assert isinstance(corpus, Artifact) and isinstance(model, Artifact)
    files = {name: given.path for name, given in inputs.items() if isinstance(given, FileInput)}
    tokenizer = load_tokenizer(model)
    prompts, others = prompt_sets(config, read_documents(corpus), files, tokenizer)
    prompts += _counterfactual(config, inputs, tokenizer)
    write_prompts(prompts, work.output / "prompts.jsonl")
    human = [{"cluster": opening.doc_id, "text": decoded(tokenizer, opening.human_ids)} for opening in others]
    (work.output / "human.jsonl").write_bytes(json_lines(human))
    voices = [
        {"style": style, "cluster": opening.doc_id, "text": decoded(tokenizer, opening.human_ids)}
        for style, other in sorted(_voices(config, inputs).items())
        for opening in human_passages(config, read_documents(other), tokenizer)
    ]
    if voices:
        (work.output / "voices.jsonl").write_bytes(json_lines(voices))
    counts = {"prompts": dict(Counter(prompt.kind for prompt in prompts)), "human": len(human)}
    (work.output / "summary.json").write_text(json.dumps(counts, indent=2, sort_keys=True) + "\n")


def _counterfactual(config: PromptConfig, inputs: Mapping[str, Input], tokenizer: "PreTrainedTokenizerBase") -> "list[Prompt]":
    """The same beginnings about one group and another (`timbre.evaluation.bias.counterfactual`)."""
    from timbre.evaluation.bias import counterfactual

    if not config.counterfactual_templates:
        return []
    file = inputs["counterfactual"]
    assert isinstance(file, FileInput)
    return counterfactual.prompts(
        counterfactual.read_templates(file.path), tokenizer, count=config.counterfactual_templates,
        samples=config.counterfactual_samples, new_tokens=config.counterfactual_tokens, seed=config.seed,
    )  # fmt: skip


def _voices(config: PromptConfig, inputs: Mapping[str, Input]) -> dict[str, Artifact]:
    return {style: value for style in config.voice_against if isinstance(value := inputs[f"voice_{style}"], Artifact)}


STAGE: Stage[PromptConfig] = Stage("prompts", 3, _build)
