"""The stage "evaluation": what a model wrote and scored (stage "generations"), measured; no model is run here but a
reader of the texts (`timbre.evaluation.reading`).

The base model and a candidate (the base with an adapter) go through the same code, with the same prompts, random numbers
and sampler, so that every item of one has its partner in the other. What the base wrote for the prompts of the corpus and
how it goes on from passages of a target come from two artifacts, `generations` and `memorisation`: the first is found again whatever the
target is. A candidate's generations hold both.

Files of the artifact:
    items.parquet      metric, item, cluster, value; sorted by metric and item
    generations.jsonl  {prompt_id, cluster, kind, sample, prompt, human, text, n_tokens, about, sampler} a line
    summary.json       {style, told_apart, not_measured, overused, sentence_lengths, ranks, likelihood, memorisation, probes, …}

A model that gives NaN is evidence too: the artifact then holds only `summary.json` {"failed": why}, and every gate that would
have read it FAILs with that sentence. So it is when the measuring itself crashes, but then `crashed.json` stands beside it: the
verdict of this run is FAIL, and the next run measures again. Any other error leaves no artifact.
"""

from collections.abc import Mapping

from timbre.artifacts import Input, Stage, Workspace
from timbre.config import EvaluationConfig


def _build(config: EvaluationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.evaluation.suite import run_suite

    run_suite(config, inputs, work)


STAGE: Stage[EvaluationConfig] = Stage("evaluation", 10, _build, runs_model=True)
