"""The stage "generations": everything a model is run for, so that measuring it needs no model.

A model, with or without an adapter, writes for every prompt and scores unseen human text and probes; to load it is half of
the work, so all of it happens in one process. What is asked follows from the inputs that are given:

    prompts, bias_probes, fact_probes, corpus   the prompt sets of the corpus, held-out likelihood, probes
    target, corpus                              continuations of what a student of this target is trained on

A candidate does both at once. The base does the first once for a corpus, whatever is trained on it, and only the second
anew for another target. Torch is loaded only to build.

Files of the artifact:
    generations.jsonl  {prompt_id, cluster, kind, sample, prompt, human, text, n_tokens, about, sampler, token_ids, ranks} a line
    scores.json        {likelihood, bias, facts}: rows of each; empty without `prompts`
    failure.json       {failed}, instead of both: the model gave NaN or infinity, which it always will
"""

from collections.abc import Mapping

from timbre.artifacts import Input, Stage, Workspace
from timbre.config import GenerationConfig


def _build(config: GenerationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.evaluation.generations import run_generations

    run_generations(config, inputs, work)


STAGE: Stage[GenerationConfig] = Stage("generations", 3, _build, runs_model=True)
