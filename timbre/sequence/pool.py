"""The stage "completions": prompts, N completions each by the tuned token-level model, and how likely it finds them and the human text.

Prompts are openings of passages that the tuned model was not trained on: of training documents first, of validation documents where
those do not suffice. Test documents are never touched. Completions are drawn at T = 1 with nothing cut off, so that they are samples of
p₀ and their log-probabilities are exact.

Files of the artifact:
    completions.jsonl   a prompt a line: {prompt_id, document, prompt, token_ids, human, human_log_probs,
                        completions: [{text, token_ids, log_probs}]}; log-probabilities in nats at T = 1
    summary.json        counts, mean surprisal of either side, and why there are no completions, if so
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact, Input, Stage, Workspace, canonical_json, json_lines
from timbre.config import CompletionsConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from timbre.inference.prompts import Opening
    from timbre.inference.session import Session

Row = dict[str, Any]
FILE = "completions.jsonl"
LEAST_DOCUMENTS = 10
LEAST_PROMPTS = 40
"""Below either nothing can be cross-fitted and judged by document."""


def _build(config: CompletionsConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.inference.session import Session

    session = Session(inputs, work, config.batch_tokens, config.seed)
    chosen = unseen_openings(config, session.artifact("corpus"), session.artifact("target"), session.artifact("adapter"), session.tokenizer)
    lacking = _lacking(chosen)
    rows = [] if lacking else _rows(config, session, chosen)
    (work.output / FILE).write_bytes(json_lines(rows))
    (work.output / "summary.json").write_bytes(canonical_json(_summary(rows, lacking)))


def unseen_openings(
    config: CompletionsConfig, corpus: Artifact, target: Artifact, adapter: Artifact, tokenizer: "PreTrainedTokenizerBase"
) -> "list[Opening]":
    """Windows that the adapter was not trained on, at most as many as are asked for."""
    from timbre.corpus.documents import read_documents
    from timbre.inference.prompts import openings

    length, width = config.prompt_tokens + config.new_tokens, int(target.manifest.config["passage_tokens"])
    trained: dict[str, list[int]] = {}
    for doc_id, start in adapter.json("summary.json")["trained_passages"]:
        trained.setdefault(str(doc_id), []).append(int(start))
    touched = sum(map(len, trained.values())) * (width // length + 2)
    found: list[Opening] = []
    for split, more in (("train", touched), ("validation", 0)):
        if (wanted := config.prompts - len(found)) > 0:
            windows = openings(
                read_documents(corpus, split), tokenizer, count=wanted + more, prompt_tokens=config.prompt_tokens,
                new_tokens=config.new_tokens, seed=config.seed,
            )  # fmt: skip
            found += [one for one in windows if not _overlaps(one, trained.get(one.doc_id, ()), length, width)][:wanted]
    return found


def _overlaps(opening: "Opening", starts: Sequence[int], length: int, width: int) -> bool:
    """Whether a window shares a token with a trained passage."""
    first = int(opening.name.rsplit("#", 1)[1]) * length
    return any(first < start + width and start < first + length for start in starts)


def _lacking(chosen: "Sequence[Opening]") -> str:
    documents = len({opening.doc_id for opening in chosen})
    if len(chosen) >= LEAST_PROMPTS and documents >= LEAST_DOCUMENTS:
        return ""
    return (
        f"{len(chosen)} passages of {documents} documents were not trained on, and {LEAST_PROMPTS} of {LEAST_DOCUMENTS} are the least: "
        "add documents, or lower target.train_tokens"
    )


def _rows(config: CompletionsConfig, session: "Session", chosen: "Sequence[Opening]") -> list[Row]:
    from timbre.config import SamplerConfig
    from timbre.inference.prompts import decoded

    prompts = [opening.prompt(session.tokenizer, "completion", "plain", config.completions) for opening in chosen]
    written = session.generate("completions", prompts, SamplerConfig(), scored=True)
    human = _human_log_probs(session, [(prompt.token_ids, opening.human_ids) for prompt, opening in zip(prompts, chosen, strict=True)])
    rows = []
    for place, (prompt, log_probs) in enumerate(zip(prompts, human, strict=True)):
        own = written[place * config.completions : (place + 1) * config.completions]
        rows.append(
            {
                "prompt_id": prompt.prompt_id, "document": prompt.cluster, "prompt": prompt.text, "token_ids": list(prompt.token_ids),
                "human": prompt.human, "human_log_probs": log_probs,
                "completions": [
                    {"text": decoded(session.tokenizer, one["token_ids"]), "token_ids": one["token_ids"], "log_probs": one["log_probs"]}
                    for one in own
                ],
            }
        )  # fmt: skip
    return rows


def _human_log_probs(session: "Session", pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
    """log p₀ of the human tokens after each prompt, in nats to four places."""
    from timbre.inference.scorer import batches, right_padded

    def compute(group: Sequence[int]) -> list[Any]:
        import torch

        found = []
        with torch.inference_mode():
            ids_BT, mask_BT = right_padded([[*pairs[place][0], *pairs[place][1]] for place in group], session.scorer.device)
            hidden_BTD = session.scorer.hidden(ids_BT, mask_BT)
            for row, place in enumerate(group):
                first, last = len(pairs[place][0]), len(pairs[place][0]) + len(pairs[place][1])
                log_probs, _ = session.scorer.scores(hidden_BTD[row, first - 1 : last - 1], ids_BT[row, first:last], entropy=False)
                found.append([place, [round(value, 4) for value in log_probs.tolist()]])
        return found

    groups = batches(range(len(pairs)), lambda place: len(pairs[place][0]) + len(pairs[place][1]), session.batch_tokens)
    by_place: dict[int, list[float]] = dict(session.resumed("human text", groups, compute))
    return [by_place[place] for place in range(len(pairs))]


def _summary(rows: Sequence[Row], lacking: str) -> Row:
    def surprisal(lists: Sequence[Sequence[float]]) -> float | None:
        tokens = sum(map(len, lists))
        return -sum(map(sum, lists)) / tokens if tokens else None

    return {
        "prompts": len(rows), "documents": len({row["document"] for row in rows}),
        "completions": sum(len(row["completions"]) for row in rows), "lacking": lacking or None,
        "surprisal": surprisal([one["log_probs"] for row in rows for one in row["completions"]]),
        "human_surprisal": surprisal([row["human_log_probs"] for row in rows]),
    }  # fmt: skip


STAGE: Stage[CompletionsConfig] = Stage("completions", 1, _build, runs_model=True)
