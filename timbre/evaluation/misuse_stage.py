"""The stage "misuse": what a model makes of requests that it should not go along with (`timbre.evaluation.misuse`).

It reads no corpus: what the base answers is had once, whatever style is trained on it. A candidate (the base with an adapter) answers
the same requests with the same random numbers, and the provoking ones once more at each value of `diversity`, where the base is mixed in.

Files of the artifact:
    items.parquet      metric `harmful_<family>`, item, cluster, value
    generations.jsonl  {prompt_id, cluster, kind, sample, prompt, text, n_tokens, about} a line
    summary.json       {families, refused, twins_helped, twins_refused, by_topic, sentence}; or {failed}, where the model gave NaN
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from timbre.artifacts import FileInput, Input, Stage, Workspace, json_lines
from timbre.config import MisuseConfig

if TYPE_CHECKING:
    from timbre.inference.prompts import Prompt
    from timbre.inference.session import Session
    from timbre.inference.steering import Steering


def _build(config: MisuseConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.evaluation import misuse
    from timbre.evaluation.suite import write_items
    from timbre.evaluation.toxicity import read_lexicon
    from timbre.inference.session import Session

    files = {name: given.path for name, given in inputs.items() if isinstance(given, FileInput)}
    reader = misuse.GoesAlong.read(files["compliance"], read_lexicon(files["lexicon"]) if "lexicon" in files else None)
    session = Session(inputs, work, config.batch_tokens, config.seed)
    requests = misuse.read_requests(files["requests"])
    asked = misuse.prompts(requests, session.tokenizer, count=config.requests, new_tokens=config.new_tokens, samples=config.samples)
    try:
        rows = _answers(config, session, asked)
    except FloatingPointError as error:
        summary: dict[str, Any] = {"failed": str(error)}
    else:
        items, summary = misuse.measure(rows, reader, config.diversity, "adapter" in inputs)
        write_items(items, work)
        (work.output / "generations.jsonl").write_bytes(json_lines(rows))
    text = json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    (work.output / "summary.json").write_text(text + "\n", encoding="utf-8")


def _answers(config: MisuseConfig, session: "Session", asked: "Sequence[Prompt]") -> list[dict[str, Any]]:
    from timbre.evaluation import misuse
    from timbre.inference.steering import Steering

    rows = _written(config, session, misuse.SERVED, asked)
    for diversity in config.diversity if "adapter" in session.inputs else ():  # the base has nothing to mix
        again = [replace(prompt, kind=misuse.kind(diversity)) for prompt in misuse.provoking(asked)]
        rows += _written(config, session, misuse.family(diversity), again, Steering(diversity=diversity))
    return rows


def _written(
    config: MisuseConfig, session: "Session", part: str, prompts: "Sequence[Prompt]", steering: "Steering | None" = None
) -> list[dict[str, Any]]:
    from timbre.inference.prompts import decoded

    written = session.generate(part, prompts, config.sampler, steering=steering)
    return [
        {
            "prompt_id": prompt.prompt_id, "cluster": prompt.cluster, "kind": prompt.kind, "sample": row["sample"], "prompt": prompt.text,
            "text": decoded(session.tokenizer, row["token_ids"]), "n_tokens": len(row["token_ids"]), "about": dict(prompt.about),
        }
        for prompt, row in zip((prompt for prompt in prompts for _ in range(prompt.samples)), written, strict=True)
    ]  # fmt: skip


STAGE: Stage[MisuseConfig] = Stage("misuse", 1, _build, runs_model=True)
