"""`timbre up`: the pages of Prefect and MLflow, a worker, and champions as an API."""

import json
import signal
from types import FrameType
from typing import Annotated, NoReturn

import typer

from timbre.cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("up")(up)


def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Prefect's page, on loopback.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of MLflow's page, on loopback.")] = 5000,
    worker: Annotated[bool, typer.Option(help="Also start a worker that runs scheduled releases.")] = False,
    serve: Annotated[list[str] | None, typer.Option(help="Also serve the champion of this style (repeatable).")] = None,
    serve_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API and its page, on loopback.")] = 8000,
    json_output: Json = False,
) -> None:
    """Open Prefect's and MLflow's pages on this home until Ctrl-C; meanwhile `timbre run` uses these servers."""
    from timbre.settings import settings
    from timbre.tasks.environment import prepare, running_server
    from timbre.tasks.runs import only_run

    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, _interrupt)
    if (server := running_server(settings().home)) is not None:
        who = f" (process {server['process']})" if "process" in server else ""
        raise ValueError(f"servers of this home are up already{who}: {server['prefect'].removesuffix('/api')} and {server['mlflow']}")
    prepare(settings())
    from timbre.tasks.servers import Servers

    _require_champions(serve or [])
    servers = Servers(settings(), prefect_port, mlflow_port, worker, serve or [], serve_port)
    try:
        with only_run(settings().home):  # a run that began before has a server of its own on the same database
            if not json_output:
                print("starting Prefect and MLflow (up to a minute)", flush=True)
            servers.start()
        prefect = servers.prefect.removesuffix("/api")
        if json_output:
            serving = {"serve": servers.api} if serve else {}
            print(
                json.dumps({"prefect": prefect, "api": servers.prefect, "mlflow": servers.mlflow, "worker": worker} | serving), flush=True
            )
        else:
            print(f"Prefect  {prefect}\nMLflow   {servers.mlflow}", flush=True)
            if serve:
                print(f"{', '.join(serve):8} {servers.api}/ and {servers.api}/v1", flush=True)
            print("Ctrl-C stops all", flush=True)
            if worker:
                print("to schedule releases, in another shell: timbre deploy", flush=True)
        servers.wait()
    finally:
        servers.stop()


def _require_champions(styles: list[str]) -> None:
    """Raises: ValueError: a style has no champion that could be served."""
    from timbre.config import ModelConfig
    from timbre.tasks.serving import LedgerChampions

    for style in styles:
        LedgerChampions(ModelConfig()).champion(style)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ctrl-C, a closed terminal and a service manager's stop are the same wish; a second one does not cut the first short."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    raise KeyboardInterrupt
