"""`timbre run`: the main job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbre.cli.options import Chosen, Json, names_a_release, read_release, refuse_beside

if TYPE_CHECKING:
    from timbre.config import ReleaseConfig


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("run")(run)


@names_a_release
def run(
    context: typer.Context,
    chosen: Chosen,
    objective: Annotated[str | None, typer.Option(help="forward_kl (DFT, the default), sft for the baseline, or another.")] = None,
    config: Annotated[Path | None, typer.Option(help="A release as JSON, instead of the options above.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    gpu_hour_price: Annotated[float | None, typer.Option(help="With --dry-run: price of an hour, instead of TIMBRE_HOUR_PRICE.")] = None,
    json_output: Json = False,
) -> None:
    """Take a style from raw text to a promoted, exported model. Run it again at any time: what is built stays built."""
    if gpu_hour_price is not None and not dry_run:
        raise ValueError("--gpu-hour-price counts with --dry-run only: add it, or leave the price out")
    if config is not None:
        refuse_beside(context, "config", "dry_run", "gpu_hour_price", "json_output")
        release = read_release(config)
    else:
        release = chosen.release(*([] if objective is None else [f"training.objective={objective}"]))
    if dry_run:
        _show_plan(release, gpu_hour_price, json_output)
        return
    raise typer.Exit(_release(release, json_output))


def _release(config: "ReleaseConfig", json_output: bool) -> int:
    import json

    from timbre.cli.summary import as_json, exit_code, print_summary
    from timbre.config import overrides_of
    from timbre.settings import settings
    from timbre.tasks.environment import begin_api, prepare, start_api
    from timbre.tasks.runs import only_run

    with only_run(settings().home):
        prepare(settings())
        begin_api()
        plan = _show_plan(config, None, quiet=json_output)
        from timbre.flows.release import release_flow

        start_api()
        outcome = release_flow(config.style, config.profile, config.seed, overrides_of(config))
    if json_output:
        print(json.dumps(as_json(outcome), indent=2))
    else:
        print_summary(config, outcome, plan)
    return exit_code(config, outcome.released)


def _show_plan(config: "ReleaseConfig", price: float | None, json_output: bool = False, *, quiet: bool = False) -> Any:
    import json

    from timbre.artifacts import ArtifactStore
    from timbre.pipeline.plan import plan
    from timbre.settings import settings

    price = settings().hour_price if price is None else price
    planned = plan(config, ArtifactStore(settings().home))
    if quiet:
        return planned
    if json_output:
        print(json.dumps(planned.as_json(price), indent=2))
    else:
        from timbre.cli.summary import print_plan

        print_plan(planned, price)
    return planned
