"""What MLflow's pages show of a candidate beside its curve: words, figures of base and candidate, data it was made of, samples."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KIND, NOTE = "mlflow.experimentKind", "mlflow.note.content"
SAMPLES = "samples.json"


@dataclass(frozen=True)
class DataInput:
    """A corpus or target that a run read: what it is called, its digest, what it was read for, and how much it holds."""

    name: str
    digest: str
    context: str
    holds: Mapping[str, Any]


@dataclass(frozen=True)
class RunPage:
    """Everything that is written into a run once its verdict is known."""

    note: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[DataInput] = ()
    samples: Sequence[Mapping[str, str]] = ()
    """Rows of one table, all with the same columns."""


def describe_experiment(client: "MlflowClient", experiment: str, style: str) -> None:
    """Say what kind of experiment it is (its page then shows runs and models, not traces), and what stands in it."""
    client.set_experiment_tag(experiment, KIND, "custom_model_development")
    client.set_experiment_tag(
        experiment,
        NOTE,
        f"Candidates of the style **{style}**: a run each, from training to verdict. `training/…` is the curve, `base/…` and "
        "`candidate/…` are the same figures of both models, `gate/…` what the policy judged. `report.html` shows all of it.",
    )


def show_run(client: "MlflowClient", run: str, page: RunPage) -> None:
    """Write the page of a run; what stands there already is not doubled."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    metrics = [Metric(name, float(value), 0, 0) for name, value in page.metrics.items()]
    tags = [RunTag(name, text) for name, text in {NOTE: page.note, **page.tags}.items()]
    known = client.get_run(run)
    parameters = [Param(name, str(value)) for name, value in page.parameters.items() if name not in known.data.params]
    client.log_batch(run, metrics=metrics, params=parameters, tags=tags)
    read = {(item.dataset.name, item.dataset.digest) for item in known.inputs.dataset_inputs} if known.inputs else set()
    fresh = [
        DatasetInput(
            Dataset(
                one.name, one.digest[:12], "timbre", json.dumps({"artifact": one.digest}), profile=json.dumps(dict(one.holds))
            ),
            [InputTag("mlflow.data.context", one.context)],
        )
        for one in page.inputs
        if (one.name, one.digest[:12]) not in read
    ]  # fmt: skip
    if fresh:
        client.log_inputs(run, fresh)
    if page.samples and SAMPLES not in {item.path for item in client.list_artifacts(run)}:
        client.log_table(run, {column: [row[column] for row in page.samples] for column in page.samples[0]}, SAMPLES)
