"""`timbre deploy`: schedules and forms on a Prefect server."""

import json

import typer

from timbre.cli.options import Json


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("deploy")(deploy)


def deploy(json_output: Json = False) -> None:
    """Set up pools, limits, automations and the deployments of prefect.yaml on the Prefect server that is up; again without change.

    A schedule begins paused: resume it on the deployment's page, and it stays resumed at the next deploy. The server is the
    one of `timbre up`, or that of PREFECT_API_URL. Alerts also go to the address in TIMBRE_WEBHOOK, if it is set.
    """
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.deployments import FILE
    from timbre.tasks.deployments import deploy as deploy_all

    deployed = deploy_all(settings().root, settings().file(FILE))
    if json_output:
        print(json.dumps([one.model_dump() for one in deployed], indent=2))
        return
    width = max(len(one.name) for one in deployed)
    for one in deployed:
        print(f"{one.name:{width}}  {one.pool:4} {', '.join(one.schedules) or ('by hand' if one.pool else 'by itself')}")
