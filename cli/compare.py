"""`timbre compare`: one registered version against another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timbre.cli.options import DEFAULT_MODEL, Json, Model, Style

if TYPE_CHECKING:
    from timbre.tasks.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Mount the commands of this file."""
    app.command("compare")(compare)


def compare(
    candidate: Annotated[int, typer.Argument(help="The version that is judged; `timbre status --all` lists them.")],
    rival: Annotated[int, typer.Argument(help="The version it is compared with.")],
    style: Style = "literary",
    model: Model = DEFAULT_MODEL,
    out: Annotated[Path | None, typer.Option(help="Folder for the page; otherwise under the home.")] = None,
    json_output: Json = False,
) -> None:
    """Judge one version against another on the same items: the gates, and the page of a release. Moves nothing."""
    if candidate == rival:
        raise ValueError(f"version {candidate} is no comparison with itself: name two versions, `timbre status --all` lists them")
    from timbre.config import ModelConfig
    from timbre.tasks.comparison import compare_versions

    comparison = compare_versions(style, ModelConfig(name=model), candidate, rival, out)
    if json_output:
        print(json.dumps(_as_json(comparison), indent=2))
        return
    from rich.console import Console

    from timbre.cli.summary import print_gates
    from timbre.gates.beside import HOLDS, differences

    judgement, console = comparison.judgement, Console(width=80, highlight=False)
    console.print(f"{comparison.model}: v{candidate} compared with v{rival}. {differences(judgement, f'v{rival}')}", markup=False)
    print_gates([gate.as_json() for gate in judgement.gates], HOLDS)
    asked = f"the policy of v{candidate} asked with v{rival} in the place of the base {HOLDS[judgement.verdict]}"
    console.print(f"\nThis is no verdict on a release: {asked}.", markup=False)
    print(f"page {comparison.page}")


def _as_json(comparison: "Comparison") -> dict[str, object]:
    from timbre.gates.beside import HOLDS, as_compared, differences

    judgement = comparison.judgement
    return {
        "model": comparison.model,
        "candidate": comparison.candidate,
        "rival": comparison.rival,
        "verdict": HOLDS[judgement.verdict],
        "why": differences(judgement, f"v{comparison.rival}"),
        "gates": [as_compared(gate) for gate in judgement.gates],
        "page": str(comparison.page),
    }
