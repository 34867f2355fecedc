"""The verdict, and what the Prefect UI shows of it: the gate table and where to look."""

from prefect import State
from prefect.artifacts import create_link_artifact, create_table_artifact

from tasks.stage import Built, run_stage, stage_task
from timbre.config import ReleaseConfig


@stage_task("verdict")
def judge(
    config: ReleaseConfig, target: Built, corpus: Built, adapter: Built, bundle: Built, base_evaluation: Built, evaluation: Built,
    *baseline: Built,
) -> State[Built]:  # fmt: skip
    """PASS, FAIL or INCONCLUSIVE, with a figure, an interval and a margin for each gate; the baseline is only shown."""
    state = run_stage("verdict", config, target, corpus, adapter, bundle, base_evaluation, evaluation, *baseline)
    verdict = state.result()
    assert isinstance(verdict, Built)
    artifact = verdict.open()
    gates = artifact.json("verdict.json")["gates"]
    columns = ("name", "verdict", "value", "low", "high", "margin", "n", "clusters")
    create_table_artifact(
        table=[{column: _short(gate.get(column)) for column in columns} for gate in gates],
        key=f"gates-{config.style}",
        description=f"Gates of {config.style} under policy {config.gate.policy}",
    )
    create_link_artifact(artifact.file("report.html").as_uri(), link_text="report", key=f"report-{config.style}")
    return state


def _short(value: object) -> object:
    """Four digits are what a table is read for; `verdict.json` has them all."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
