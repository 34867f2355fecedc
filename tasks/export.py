"""The ONNX bundle, with parity and latency as evidence for the gates, and the traced graph that it fills."""

from prefect import State

from timbre.config import ReleaseConfig
from timbre.tasks.stage import Built, run_stage, stage_task


@stage_task("decoder")
def trace(config: ReleaseConfig, model: Built) -> State[Built]:
    """The base model's graph, traced once; every adapter's weights go into it."""
    return run_stage("decoder", config, model)


@stage_task("bundle")
def export(config: ReleaseConfig, model: Built, corpus: Built, adapter: Built, decoder: Built) -> State[Built]:
    """The merged model as something an application can load."""
    return run_stage("bundle", config, model, corpus, adapter, decoder)
