"""`timbre monitor` and `timbre retrain`: what moved since the release, and what is to be done about it."""

import getpass
import json
from typing import Annotated

import typer

from timbre.cli.errors import GATE_FAIL
from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

app = typer.Typer(no_args_is_help=True, help="Decide on retrain requests.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Mount the commands of this file."""
    root.command("monitor")(monitor)


def monitor(
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    seed: Annotated[int, typer.Option(help="Of the texts that are sampled.")] = 0,
    trend: Annotated[bool, typer.Option("--trend", help="Only write the page of the releases over time.")] = False,
    json_output: Json = False,
) -> None:
    """Check the champion and the newest corpus against the release; where something moved, file a retrain request.

    Ends with 3 where a check fails. Nothing is retrained: `timbre retrain approve N` decides, or data/monitor.toml where it says
    `automatic = true`; then the style's release is started as the monitoring flow does, where a Prefect server has its deployment.
    """
    from timbre.config import ModelConfig
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.monitor import monitor as look
    from timbre.tasks.monitor import start_where_automatic, write_trend

    if trend:
        page = write_trend(style, ModelConfig(name=model))
        print(json.dumps({"style": style, "page": str(page)}) if json_output else page)
        return
    report = look(style, ModelConfig(name=model), seed)
    request, run = (None, "") if report.request is None else start_where_automatic(report.request)
    page = settings().home / "monitor" / style / "index.html"
    if json_output:
        print(json.dumps(report.model_dump(mode="json") | {"page": str(page), "run": run or None}, indent=2))
    else:
        print(f"{report.verdict}: {report.model} v{report.version}")
        for check in report.checks:
            print(f"  {check.verdict:12} {check.name}: {check.sentence}")
        if request is not None and request.state == "approved":
            then = f"{run} was started" if run else f"next: timbre run --style {style}"
            print(f"retrain request {request.id} is approved by policy: {then}")
        elif request is not None:
            print(f"retrain request {request.id} waits: timbre retrain approve {request.id}, or dismiss it")
        print(f"page {page}")
    if report.verdict == "FAIL":
        raise typer.Exit(GATE_FAIL)


@app.callback()
def _retrain() -> None:
    """Decide on retrain requests."""


@app.command("list")
def list_requests(
    every: Annotated[bool, typer.Option("--all", help="Those that were decided, too.")] = False, json_output: Json = False
) -> None:
    """The retrain requests that wait, with reason and evidence."""
    from timbre.tasks.monitor import retrain_requests

    with retrain_requests() as requests:
        found = requests.all(waiting=not every)
    if json_output:
        print(json.dumps([request.as_json() for request in found], indent=2))
        return
    for request in found:
        decided = f", {request.state} by {request.by}{': ' + request.why if request.why else ''}" if request.state != "open" else ""
        print(f"{request.id}  {request.at:%Y-%m-%d}  {request.model} v{request.version}{decided}\n    {request.reason}")
    if not found:
        print("No retrain request waits.")


@app.command()
def approve(
    number: Annotated[int, typer.Argument(help="Of the request; `timbre retrain list` shows them.")],
    reason: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
    json_output: Json = False,
) -> None:
    """Approve a request: the style's release is started where a Prefect server has its deployment, else the command is named."""
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.monitor import retrain_requests, start_approved

    with retrain_requests() as requests:
        request = requests.decide(number, "approved", getpass.getuser(), reason)
    run = start_approved(request)
    if json_output:
        print(json.dumps(request.as_json() | {"run": run or None}, indent=2))
        return
    print(f"approved; {f'{run} was started' if run else f'next: timbre run --style {request.style}'}")


@app.command()
def dismiss(
    number: Annotated[int, typer.Argument(help="Of the request; `timbre retrain list` shows them.")],
    reason: Annotated[str, typer.Option(help="Kept with the decision.")],
    json_output: Json = False,
) -> None:
    """Dismiss a request, with a reason."""
    from timbre.tasks.monitor import retrain_requests

    with retrain_requests() as requests:
        request = requests.decide(number, "dismissed", getpass.getuser(), reason)
    print(json.dumps(request.as_json(), indent=2) if json_output else "dismissed")
