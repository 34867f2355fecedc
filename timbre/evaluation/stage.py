"""The stage "evaluation": what a model does with unseen human text, with probes, and when it writes.

The base model and a candidate (the base with an adapter) go through the same code, with the same prompts, random numbers
and sampler, so that every item of one has its partner in the other. Torch is loaded only to build.

Files of the artifact:
    items.parquet      metric, item, cluster, value; sorted by metric and item
    generations.jsonl  {prompt_id, doc_id, kind, prompt, human, text, n_tokens} a line
    summary.json       {style, likelihood, memorisation, probes, wrong_script_rate, …}
"""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import EvaluationConfig


def _build(config: EvaluationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.evaluation.suite import run_suite

    run_suite(config, inputs, work)


STAGE: Stage[EvaluationConfig] = Stage("evaluation", 1, _build)


def evaluate(
    config: EvaluationConfig, model: Artifact, corpus: Artifact, bias_probes: FileInput, fact_probes: FileInput,
    adapter: Artifact | None, store: ArtifactStore,
) -> Artifact:  # fmt: skip
    """The scores of a candidate, or of the base model itself when `adapter` is None: found in the store, or measured.

    Raises:
        ValueError: the corpus' test split or a probe file is too small or malformed.
        FloatingPointError: the model gave NaN; nothing is reported then.
    """
    inputs: dict[str, Input] = {"model": model, "corpus": corpus, "bias_probes": bias_probes, "fact_probes": fact_probes}
    if adapter is not None:
        inputs["adapter"] = adapter
    return store.build(STAGE, config, inputs)
