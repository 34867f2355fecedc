"""Every day: does the champion write as it was released, and is what is handed in still what it learnt from?

    timbre monitor --style literary     the same, without Prefect

What moved raises the event `timbre-monitor.moved` and files a retrain request; nothing is retrained unless somebody approves it
(`timbre retrain approve`), or `data/monitor.toml` says that it is automatic.
"""

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from timbre.config import ModelConfig
from timbre.flows.forms import Style
from timbre.monitoring.page import Report
from timbre.page.render import cell
from timbre.tasks.monitor import monitor, start_where_automatic


@flow(name="monitor", flow_run_name="monitor-{style}", persist_result=False, timeout_seconds=6 * 3600)
def monitor_champion(style: Style = "literary", model: str = "smollm2-135m-instruct", seed: int | None = None) -> str:
    """Check a style's champion and its newest corpus against the release; PASS, FAIL or INCONCLUSIVE.

    Args:
        style: Whose champion is looked at.
        model: The base model, by name or folder.
        seed: Of the texts; by default the day's number, so that each day asks anew.

    Raises:
        ValueError: there is no champion, or what its release wrote is not on this machine.
    """
    report = monitor(style, ModelConfig(name=model), datetime.now(UTC).toordinal() if seed is None else seed)
    create_markdown_artifact(_markdown(report), key=f"monitor-{style}")
    emit_event(
        event="timbre-monitor.moved" if report.verdict == "FAIL" else "timbre-monitor.looked",
        resource={"prefect.resource.id": f"timbre.model.{report.model}", "prefect.resource.name": report.model},
        payload={"style": style, "version": report.version, "verdict": report.verdict, "request": report.request},
    )
    run = start_where_automatic(report.request)[1] if report.request is not None else ""
    if run:
        get_run_logger().info("retrain request %d is approved by policy: %s was started", report.request, run)
    get_run_logger().info("%s v%s: %s", report.model, report.version, report.verdict)
    return report.verdict


def _markdown(report: Report) -> str:
    rows = "\n".join(f"| {check.name} | **{check.verdict}** | {cell(check.sentence)} |" for check in report.checks)
    asked = f"Retrain request {report.request} waits: `timbre retrain approve {report.request}` or `dismiss`.\n\n" if report.request else ""
    return f"**{report.verdict}** for {report.model} v{report.version}\n\n{asked}| check | verdict | seen |\n|---|---|---|\n{rows}\n"
