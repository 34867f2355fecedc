"""`timbre canary`: a challenger answers a share of the requests, or writes beside the champion unseen."""

import json
from typing import Annotated, Any

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

app = typer.Typer(no_args_is_help=True, help="Try a challenger in serving.", rich_markup_mode=None)

Reason = Annotated[str, typer.Option(help="Written in the ledger.")]


@app.callback()
def _canary() -> None:
    """Try a challenger in serving (docs/how-to/serving.md)."""


@app.command()
def start(
    version: Annotated[int | None, typer.Argument(help="The version to try. Default: the registry's challenger.")] = None,
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    share: Annotated[float | None, typer.Option(min=0, max=1, help="Of the requests. Default: share in data/serving.toml.")] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Its texts are written beside the champion's and returned to nobody.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the choice which requests it gets. Default: drawn, and shown.")] = None,
    reason: Reason = "by hand",
    json_output: Json = False,
) -> None:
    """Put a version on trial; servers of this home follow within seconds. Without `--shadow` it needs a PASS verdict."""
    from timbre.config import ModelConfig
    from timbre.serving.policy import project_policy
    from timbre.tasks.canary import Way, begin

    way = Way(project_policy().share if share is None else share, shadow, seed)
    trial = begin(style, ModelConfig(name=model), version, way, reason)
    how = "writes unseen for" if trial.shadow else "answers"
    print(json.dumps(trial.as_json()) if json_output else f"{trial.model}: v{trial.version} {how} {trial.share:.0%} of the requests")


@app.command()
def show(style: Style = "literary", model: Model = DEFAULT_MODEL, json_output: Json = False) -> None:
    """What was seen of champion and challenger, and what was decided."""
    from timbre.config import ModelConfig
    from timbre.settings import settings
    from timbre.tasks.canary import figures
    from timbre.tasks.environment import prepare

    prepare(settings())
    told = figures(style, ModelConfig(name=model))
    if json_output:
        print(json.dumps(told, indent=2))
        return
    for line in lines(told):
        print(line)
    for finding in told["findings"]:
        print(f"  {finding['verdict']:12} {finding['name']}: {finding['sentence']}")
    for decision in told["decisions"]:
        print(f"{decision['at'][:16]}  {decision['event']} v{decision['version']}: {decision['reason']}")
    if told["champion"] is None:
        print("Nothing is served yet.")


@app.command()
def stop(style: Style = "literary", model: Model = DEFAULT_MODEL, reason: Reason = "by hand", json_output: Json = False) -> None:
    """End the trial; the champion answers everything again."""
    from timbre.config import ModelConfig
    from timbre.tasks import canary

    trial = canary.stop(style, ModelConfig(name=model), reason)
    print(json.dumps(trial.as_json()) if json_output else f"{trial.model}: the trial of v{trial.version} is ended")


@app.command()
def promote(style: Style = "literary", model: Model = DEFAULT_MODEL, reason: Reason = "by hand", json_output: Json = False) -> None:
    """Make the version on trial champion; what was seen of it is kept in the ledger as evidence. There is no force."""
    from timbre.config import ModelConfig
    from timbre.tasks import canary

    _tell(canary.promote(style, ModelConfig(name=model), reason), json_output)


@app.command()
def settle(style: Style = "literary", model: Model = DEFAULT_MODEL, json_output: Json = False) -> None:
    """Carry out what servers decided and the ledger says is due; servers call this themselves."""
    from timbre.config import ModelConfig
    from timbre.tasks import canary

    _tell(canary.settle(style, ModelConfig(name=model)), json_output)


def lines(told: dict[str, Any]) -> list[str]:
    """A line for champion and challenger each, of what `timbre.tasks.canary.figures` says."""
    found = []
    for role in ("champion", "challenger"):
        if (row := told[role]) is None or (role == "champion" and not row["texts"]):
            continue
        trial = told["trial"]
        how = "" if role == "champion" else f", {'unseen beside' if trial['shadow'] else 'answers'} {trial['share']:.0%}"
        style = "not measured" if row["style_distance"] is None else f"{row['style_distance']:.3f}"
        speed = "–" if row["token_ms"] is None else f"{row['first_ms']:.0f} ms to the first piece, {row['token_ms']:.1f} ms a token"
        rate = "–" if row["error_rate"] is None else f"{row['error_rate']:.1%}"
        found.append(f"{role} v{row['version']}{how}: {row['texts']} texts, {rate} broken, style distance {style}, {speed}")
    return found


def _tell(move: Any, json_output: bool) -> None:
    if json_output:
        print(json.dumps(None if move is None else {"model": move.model, "champion": move.version, "previous": move.replaced_version}))
    elif move is None:
        print("Nothing is due.")
    else:
        previous = "nobody" if move.replaced_version is None else f"v{move.replaced_version}"
        print(f"{move.model}: champion is v{move.version}, previous {previous}")
