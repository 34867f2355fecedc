"""`timbre promote`, `timbre approve` and `timbre rollback`: moving the champion by hand."""

import getpass
import json
from typing import Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("promote")(promote)
    app.command("approve")(approve)
    app.command("rollback")(rollback)


def promote(
    version: Annotated[int, typer.Argument(help="The version to promote; `timbre status --all` lists them.")],
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    reason: Annotated[str, typer.Option(help="Written in the ledger.")] = "by hand",
    json_output: Json = False,
) -> None:
    """Make a registered version champion. It needs a PASS verdict about that very bundle; there is no force.

    Exit code 3 or 4 if the verdict is FAIL or INCONCLUSIVE, 2 if it is PASS under a policy that was edited since or that
    asks for less than what certified a champion before.
    """
    from timbre.config import ModelConfig
    from timbre.tasks.promotion import promote_version

    champion = promote_version(style, ModelConfig(name=model), version, reason)
    text = {"model": champion.model, "champion": champion.version, "previous": champion.replaced_version}
    print(
        json.dumps(text)
        if json_output
        else f"{champion.model}: champion is v{champion.version}, previous {_name(champion.replaced_version)}"
    )


def approve(
    run: Annotated[
        str, typer.Argument(help="Id or name of the flow run, or first digits of the verdict; `timbre status` lists what waits.")
    ],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    reason: Annotated[str, typer.Option(help="Written in the ledger.")] = "",
    verdict: Annotated[str | None, typer.Option(help="Only if the whole digest of its verdict is this one.")] = None,
    model_digest: Annotated[str | None, typer.Option(help="Only if the whole digest of its bundle is this one.")] = None,
    json_output: Json = False,
) -> None:
    """Decide about a version that passed and waits (`publish.promotion=manual`): it becomes champion, or is refused. Once, and in time.

    The same as the form on the page of the run, which goes on to its end.
    """
    from timbre.settings import settings
    from timbre.tasks.environment import prepare

    prepare(settings())
    from timbre.tasks.approval import decide, resume

    asked, champion = decide(
        run, "refused" if refuse else "approved", getpass.getuser(), reason, bundle=model_digest, verdict=verdict
    )  # fmt: skip
    resumed = resume(asked)
    if json_output:
        print(json.dumps(asked.as_json() | {"champion": champion, "resumed": resumed}, indent=2))
        return
    print(
        f"{asked.model} v{asked.version} {'is champion' if champion is not None else 'was refused'}{'; its run goes on' if resumed else ''}"
    )


def rollback(
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    reason: Annotated[str, typer.Option(help="Written in the ledger.")] = "by hand",
    json_output: Json = False,
) -> None:
    """Swap champion and previous, if evidence and bundle of the previous one still open."""
    from timbre.config import ModelConfig
    from timbre.tasks.promotion import roll_back

    champion = roll_back(style, ModelConfig(name=model), reason)
    text = {"model": champion.model, "champion": champion.version, "previous": champion.replaced_version}
    print(
        json.dumps(text)
        if json_output
        else f"{champion.model}: rolled back to v{champion.version}, previous is {_name(champion.replaced_version)}"
    )


def _name(version: int | None) -> str:
    return "nobody" if version is None else f"v{version}"
