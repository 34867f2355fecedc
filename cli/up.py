"""`timbre up`: the pages of Prefect and MLflow."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("up")(up)


def up(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's page, on loopback.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's page, on loopback.")] = 5000,
    worker: Annotated[bool, typer.Option(help="Also start a worker that runs scheduled releases.")] = False,
) -> None:
    """Open Prefect's and MLflow's pages on this home until Ctrl-C; meanwhile `timbre run` uses these servers."""
    from tasks.environment import prepare, running_server
    from timbre.settings import settings

    if (server := running_server(settings().home)) is not None:
        raise ValueError(f"servers of this home are up already: {server['prefect'].removesuffix('/api')} and {server['mlflow']}")
    prepare(settings())
    from tasks.servers import Servers

    servers = Servers(settings(), prefect_port, mlflow_port, worker)
    try:
        print("starting Prefect and MLflow (up to a minute)", flush=True)
        servers.start()
        print(f"Prefect  {servers.prefect.removesuffix('/api')}\nMLflow   {servers.mlflow}\nCtrl-C stops both", flush=True)
        servers.wait()
    finally:
        servers.stop()
