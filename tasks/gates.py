"""The verdict, and what the Prefect UI shows of it: the gate table and where to look."""

from collections.abc import Mapping
from typing import Any

from prefect import State
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from timbre.config import ReleaseConfig
from timbre.settings import settings
from timbre.tasks.context import base_of, registered_name, transitions_of
from timbre.tasks.stage import Built, run_stage
from timbre.tasks.stores.mlflow import MlflowStore
from timbre.tasks.training import run_name

_SCALED = ("value", "low", "high", "margin")
_WORST_FIRST = ("FAIL", "INCONCLUSIVE", "PASS")


def run_gates(step: str, config: ReleaseConfig, *upstream: Built) -> State[Built]:
    """PASS, FAIL or INCONCLUSIVE, with a figure, an interval and a margin for each gate on the page of the run."""
    state = run_stage(step, config, *upstream)
    verdict, built = state.result(), {one.step: one for one in upstream}
    assert isinstance(verdict, Built)
    outcome = verdict.open().json("verdict.json")
    create_table_artifact(
        table=gate_rows(outcome),
        key=f"gates-{config.style}",
        description=f"{outcome['verdict']}: the gates of {config.style} under the policy {config.gate.policy}",
    )
    create_markdown_artifact(
        _where_to_look(config, built["corpus"], built["adapter"], built["bundle"], verdict),
        key=f"report-{config.style}",
        description=f"Where report, Data Docs and bundle of {config.style} lie",
    )
    return state


def gate_rows(outcome: Mapping[str, Any]) -> list[dict[str, object]]:
    """The table of a verdict: the whole verdict first, then its gates in words and units, those that did not pass above the others."""
    gates: list[Mapping[str, Any]] = sorted(outcome["gates"], key=lambda gate: _WORST_FIRST.index(gate["verdict"]))
    passed = sum(gate["verdict"] == "PASS" for gate in gates)
    whole = {"verdict": outcome["verdict"], "name": f"all together: {passed} of {len(gates)} passed"}
    return [_gate_row(row) for row in (whole, *gates)]


def _gate_row(gate: Mapping[str, Any]) -> dict[str, object]:
    """A gate as the report calls it, its figures in its unit (facts in percentage points, not in shares)."""
    scale = float(gate.get("scale", 1.0))
    figures = {column: None if gate.get(column) is None else _short(scale * gate[column]) for column in _SCALED}
    named = {"verdict": gate["verdict"], "name": gate.get("title", gate["name"]), "value": figures["value"], "unit": gate.get("unit", "")}
    return named | figures | {"n": gate.get("n")}


def _where_to_look(config: ReleaseConfig, corpus: Built, adapter: Built, bundle: Built, verdict: Built) -> str:
    """Paths as text to copy: a browser opens no file that a page from a server links to.

    A verdict that was just made is published next, in the run named here; of an older one the ledger knows the version.
    """
    found: dict[str, object] = {
        "report": verdict.open().file("report.html"),
        "Data Docs": corpus.open().file("data_docs/index.html"),
        "bundle": bundle.open().path,
        "MLflow experiment": f"timbre-{config.style}",
    }
    if not verdict.cached:
        parameters = {"profile": config.profile, "model": base_of(config.model)}
        found["MLflow run"] = MlflowStore.open(settings()).run_for(adapter.open().manifest.key, config.style, run_name(config), parameters)
    model = registered_name(config.style, config.model)
    if known := [row for row in transitions_of(config.style) if row.model == model and row.verdict == verdict.digest]:
        found["MLflow version"] = f"{model} v{known[-1].version}"
    return "\n".join(f"**{what}**\n```\n{where}\n```" for what, where in found.items()) + "\n"


def _short(value: object) -> object:
    """Four digits are what a table is read for; `verdict.json` has them all."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
