"""The ONNX bundle, with parity and latency as evidence for the gates."""

from prefect import State

from tasks.stage import Built, run_stage, stage_task
from timbre.config import ReleaseConfig


@stage_task("bundle")
def export(config: ReleaseConfig, model: Built, corpus: Built, adapter: Built) -> State[Built]:
    """The merged model as something an application can load."""
    return run_stage("bundle", config, model, corpus, adapter)
