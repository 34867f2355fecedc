"""What the stage "generations" does: one model, loaded once, writes for all prompts and reads all human text and probes."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.artifacts import FileInput, Input, Workspace, canonical_json, json_lines
from timbre.config import GenerationConfig
from timbre.corpus.documents import read_documents
from timbre.corpus.passages import select_passages
from timbre.evaluation import probes
from timbre.evaluation.factuality import unknown
from timbre.evaluation.likelihood import score_passages
from timbre.evaluation.memorisation import check_trained_passages, memorisation_prompts
from timbre.evaluation.probes import ProbeKind
from timbre.inference.generation import PLAIN
from timbre.inference.prompts import Prompt, decoded, read_prompts
from timbre.inference.scorer import batches
from timbre.inference.session import Session

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
FAILURE = "failure.json"


def run_generations(config: GenerationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    """Write the files of the artifact; a model that gives NaN leaves `failure.json` and nothing else.

    Raises:
        ValueError: corpus, target, probes and adapter do not fit each other, or are too small.
    """
    try:
        rows, scores = _answers(config, inputs, work)
    except FloatingPointError as error:
        (work.output / FAILURE).write_bytes(canonical_json({"failed": str(error)}))
        return
    (work.output / "generations.jsonl").write_bytes(json_lines(rows))
    (work.output / "scores.json").write_bytes(json.dumps(scores, sort_keys=True, allow_nan=False).encode())


def _answers(config: GenerationConfig, inputs: Mapping[str, Input], work: Workspace) -> tuple[list[Row], Row]:
    session = Session(inputs, work, config.batch_tokens, config.seed)
    rows: list[Row] = []
    scores: Row = {}
    if "target" in inputs:
        target = session.artifact("target")
        if "adapter" in inputs:
            check_trained_passages(session.artifact("adapter"), target)
        trained = memorisation_prompts(config, target, session.artifact("corpus"), session.tokenizer)
        rows += _written(session, "memorisation", trained, config)
    if "prompts" in inputs:
        scores = {
            "likelihood": _likelihood(config, session),
            "bias": _probes(session, "bias", "bias_probes", config.bias_items),
            "facts": _probes(session, "facts", "fact_probes", config.fact_items),
        }
        if config.unknown_statements and "adapter" not in inputs:
            scores["unknown"] = _unknown(config, session)
        every_prompt = read_prompts(session.artifact("prompts").file("prompts.jsonl"))
        if config.sampler == PLAIN:
            every_prompt = [prompt for prompt in every_prompt if prompt.kind != "style_plain"]  # they would be the style texts again
        rows = _written(session, "generation", every_prompt, config) + rows
    return rows, scores


def _written(session: Session, part: str, prompts: Sequence[Prompt], config: GenerationConfig) -> list[Row]:
    written = session.generate(part, prompts, config.sampler, marked=config.watermark)
    repeated = (prompt for prompt in prompts for _ in range(prompt.samples))
    return [_row(session.tokenizer, prompt, row) for prompt, row in zip(repeated, written, strict=True)]


def _row(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, written: Mapping[str, Any]) -> Row:
    """Human and generated text are decoded alike, also where a cut falls inside a word or a character."""
    return {
        "prompt_id": prompt.prompt_id, "cluster": prompt.cluster, "kind": prompt.kind, "sample": written["sample"],
        "prompt": prompt.text, "human": prompt.human, "text": decoded(tokenizer, written["token_ids"]),
        "n_tokens": len(written["token_ids"]), "about": dict(prompt.about), "sampler": prompt.sampler,
        "token_ids": written["token_ids"], "ranks": written["ranks"],
    }  # fmt: skip


def _likelihood(config: GenerationConfig, session: Session) -> list[Row]:
    passages = select_passages(
        read_documents(session.artifact("corpus"), "test"), session.tokenizer,
        budget_tokens=config.likelihood_tokens, passage_tokens=config.passage_tokens, seed=config.seed,
    )  # fmt: skip
    scored = [passage for passage in passages if passage.positions]
    groups = batches(scored, lambda passage: len(passage.token_ids), config.batch_tokens)
    return session.resumed("likelihood", groups, lambda group: score_passages(session.scorer, group, session.tokenizer))


def _unknown(config: GenerationConfig, session: Session) -> Row:
    documents = read_documents(session.artifact("corpus"), "train")
    pairs, counts = unknown.pairs(documents, session.tokenizer, count=config.unknown_statements, seed=session.seed)
    groups = probes.batches_of_pairs(pairs, session.batch_tokens)
    rows = session.resumed("unknown facts", groups, lambda group: unknown.rival_rows(group, probes.score_pairs(session.scorer, group)))
    return {"rows": rows, "counts": counts}


def _probes(session: Session, kind: ProbeKind, name: str, count: int | None) -> list[Row]:
    file = session.inputs[name]
    assert isinstance(file, FileInput)
    chosen = probes.same_share(probes.read_probes(file.path, kind), count, session.seed)
    groups = probes.batches_of_pairs(probes.tokenised(chosen, session.tokenizer), session.batch_tokens)
    return session.resumed(
        f"{kind} probes", groups, lambda group: probes.probe_rows(kind, group, probes.score_pairs(session.scorer, group))
    )
