"""What a cell reads of a model: texts at each of its samplers, likelihood at each of its temperatures, probes, recitation.

Prompts are openings of unseen documents, or, for instructions, what asks for an unseen passage (`timbre.targets.prompts`), whose
human answer is that passage. Each is asked once of each arm, with random numbers of its own that are the same for every arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from benchmarks.trial import scored_at
from timbre.artifacts import Artifact, Input, Stage, Workspace, canonical_json, json_lines
from timbre.config import Frozen, PromptConfig, TargetConfig
from timbre.corpus.documents import Document, read_documents
from timbre.corpus.passages import Passage, select_passages
from timbre.inference.prompts import Prompt, decoded, instruction_ids, read_prompts, write_prompts
from timbre.inference.sampling import Controls
from timbre.inference.session import Session

Format = Literal["continuation", "instruction"]
Row = Mapping[str, Any]
ASKED = (
    "Vary your words, the length of your sentences and how they begin; avoid stock phrases, and write as a person would who has something "
    "to say."
)
GO_ON = "Go on writing where this text ends, in its author's manner."
BATCH_TOKENS = 16_384


class Questions(Frozen):
    """Which prompts."""

    format: Format
    asked: bool
    prompts: int
    prompt_tokens: int
    new_tokens: int


class Texts(Frozen):
    """How they are answered."""

    sampler: Controls


class Scores(Frozen):
    """What human text is scored."""

    format: Format
    tokens: int
    passage_tokens: int
    temperatures: tuple[float, ...]


def _build_questions(config: Questions, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.evaluation.prompt_sets import prompt_sets
    from timbre.models import load_tokenizer, model_facts

    corpus, model = _artifact(inputs, "corpus"), _artifact(inputs, "model")
    tokenizer = load_tokenizer(model)
    if config.format == "instruction":
        found, others = _instructions(config, read_documents(corpus, "test"), tokenizer, model_facts(model)["context"])
    else:
        asked = PromptConfig(prompts=config.prompts, plain=False, prompt_tokens=config.prompt_tokens, new_tokens=config.new_tokens)
        found, openings = prompt_sets(asked, read_documents(corpus), {}, tokenizer)
        others = [{"cluster": opening.doc_id, "text": decoded(tokenizer, opening.human_ids)} for opening in openings]
    if config.asked:
        found = [_varied(prompt, config.format, tokenizer) for prompt in found]
    write_prompts(found, work.output / "prompts.jsonl")
    (work.output / "human.jsonl").write_bytes(json_lines(others))


def _instructions(
    config: Questions, documents: Sequence[Document], tokenizer: Any, context: int
) -> tuple[list[Prompt], list[dict[str, str]]]:
    """As many prompts as are asked for, and further answers of people; a passage whose prompt says too much of it is passed over."""
    from timbre.targets.prompts import maker_of

    length = config.prompt_tokens + config.new_tokens
    budget = (2 * config.prompts + len(documents)) * length
    drawn = select_passages(documents, tokenizer, budget_tokens=budget, passage_tokens=length, seed=0)
    passages = [passage for passage in drawn if len(passage.text_ids) == length]
    maker = maker_of(passages, tokenizer, {document.doc_id: document.text for document in documents}, context)
    prompts: list[Prompt] = []
    for passage in passages:
        words, spoken = maker.words(passage)
        answer = passage.text_ids[spoken : spoken + config.new_tokens].tolist()
        if len(answer) < config.new_tokens:
            continue
        ids, human = instruction_ids(words, tokenizer), decoded(tokenizer, answer)
        name = f"{passage.doc_id}#{passage.index}"
        prompts.append(Prompt(name, passage.doc_id, "style", words, ids, config.new_tokens, human=human))
    asked, rest = prompts[: config.prompts], prompts[config.prompts : 2 * config.prompts]
    return asked, [{"cluster": prompt.cluster, "text": prompt.human} for prompt in rest]


def _varied(prompt: Prompt, form: Format, tokenizer: Any) -> Prompt:
    text = f"{prompt.text} {ASKED}" if form == "instruction" else f"{GO_ON} {ASKED}\n\n{prompt.text}"
    return replace(prompt, text=text, token_ids=instruction_ids(text, tokenizer))


def _build_texts(config: Texts, inputs: Mapping[str, Input], work: Workspace) -> None:
    session = Session(inputs, work, BATCH_TOKENS, seed=0)
    prompts = read_prompts(session.artifact("prompts").file("prompts.jsonl"))
    written = session.generate("texts", prompts, config.sampler)
    rows = [
        {
            "cluster": prompt.cluster, "human": prompt.human, "text": decoded(session.tokenizer, row["token_ids"]),
            "token_ids": row["token_ids"],
        }
        for prompt, row in zip(prompts, written, strict=True)
    ]  # fmt: skip
    (work.output / "texts.jsonl").write_bytes(json_lines(rows))


def _build_scores(config: Scores, inputs: Mapping[str, Input], work: Workspace) -> None:
    """Sums in nats over a passage, a row a passage and temperature, in the order of temperatures and passages."""
    from timbre.inference.scorer import batches
    from timbre.models import model_facts
    from timbre.targets.prompts import formatted

    session = Session(inputs, work, BATCH_TOKENS, seed=0)
    documents = read_documents(session.artifact("corpus"), "test")
    passages: list[Passage] = select_passages(
        documents, session.tokenizer, budget_tokens=config.tokens, passage_tokens=config.passage_tokens, seed=0
    )
    texts = {document.doc_id: document.text for document in documents}
    asked = TargetConfig(formats=(config.format,))
    passages = formatted(passages, asked, session.tokenizer, texts, model_facts(session.artifact("model"))["context"])
    groups = batches([passage for passage in passages if passage.positions], lambda passage: len(passage.token_ids), 2_048)
    rows = session.resumed("likelihood", groups, lambda group: scored_at(session.scorer, group, config.temperatures))
    rows.sort(key=lambda row: (row["temperature"], row["item"]))
    (work.output / "rows.json").write_bytes(canonical_json(rows))


def _artifact(inputs: Mapping[str, Input], name: str) -> Artifact:
    value = inputs[name]
    assert isinstance(value, Artifact), f"the input {name!r} is an artifact"
    return value


QUESTIONS: Stage[Questions] = Stage("proof-prompts", 1, _build_questions)
TEXTS: Stage[Texts] = Stage("proof-texts", 1, _build_texts, runs_model=True)
SCORES: Stage[Scores] = Stage("proof-likelihood", 1, _build_scores, runs_model=True)
