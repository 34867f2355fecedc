"""The `timbre` command: top floor. Every command imports what it needs when it is called, so that help is instant.

Exit codes: 0 done, 1 a bug, 2 usage or input, 3 a gate says FAIL, 4 INCONCLUSIVE, 5 waiting for approval,
6 integrity, 7 lost the compare-and-set, 130 Ctrl-C.
"""

import signal
import sys

import typer

from cli import corpus, data, doctor, generate, promotion, release, road, setup, stage, status, up

app = typer.Typer(
    name="timbre",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make a language model write the way a body of human writing is written.\n\nStart with: timbre run --style literary",
)
for module in (release, status, promotion, generate, up, doctor, setup):
    module.register(app)
road.register(stage.app)
app.add_typer(corpus.app, name="corpus")
app.add_typer(data.app, name="target")
app.add_typer(stage.app, name="stage")


def _interrupt(number: int, _frame: object) -> None:
    """A polite kill ends what we started, as Ctrl-C does."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> None:
    """Run the command; turn what went wrong into one sentence and an exit code."""
    from cli.errors import explain

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        app()
    except SystemExit:
        raise
    except BaseException as error:  # Prefect raises one of its own on SIGTERM
        message, code = explain(error)
        print(f"timbre: {message}", file=sys.stderr)
        sys.exit(code)
