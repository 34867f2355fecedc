"""The `timbre` command: top floor. Every command imports what it needs when it is called, so that help is instant.

Exit codes: 0 done, 1 a bug, 2 usage or input, 3 a gate says FAIL, 4 INCONCLUSIVE, 5 waiting for approval,
6 integrity, 7 lost the compare-and-set, 130 Ctrl-C.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Annotated

import typer

from timbre.cli import (
    backup,
    benchmark,
    canary,
    compare,
    corpus,
    deploy,
    detect,
    doctor,
    evaluate,
    export,
    gc,
    generate,
    handover,
    harness,
    init,
    judge,
    lineage,
    monitor,
    pages,
    promotion,
    quantise,
    release,
    serve,
    setup,
    sign,
    stage,
    status,
    up,
)
from timbre.cli import target as data
from timbre.cli.terminal import WholeHelp, show_any_letter
from timbre.loopback import spare_loopback

_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 20.0
SPINS = ("GOMP_SPINCOUNT", "1000")
"""How long a thread of torch turns round before it sleeps, unless the user says otherwise. With libgomp's own value two
programs on the same cores wait for each other's turning: writing texts was measured 2 to 6 times slower beside a second
one, against a fifth slower alone with this value."""

_EXTRA_OF = {
    **dict.fromkeys(
        ("run", "stage", "setup", "up", "status", "promote", "approve", "rollback", "compare", "deploy", "monitor", "canary"), "run"
    ),
    "serve": "serve",
    "target": "train",
}
"""What a whole command needs. Others need an extra only for some of what they do, and say so when it comes to that."""

app = typer.Typer(
    name="timbre",
    cls=WholeHelp,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make a language model write the way a body of human writing is written.\n\nStart with: timbre run --style literary",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from timbre import __version__

        print(f"timbre {__version__}")
        raise typer.Exit


@app.callback()
def _timbre(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")] = False,
) -> None:
    """What stands before every command."""


for module in (
    release,
    status,
    promotion,
    compare,
    lineage,
    generate,
    export,
    evaluate,
    benchmark,
    harness,
    pages,
    up,
    deploy,
    serve,
    detect,
    sign,
    quantise,
    doctor,
    gc,
    handover,
    monitor,
    backup,
    setup,
    init,
):
    module.register(app)
app.add_typer(canary.app, name="canary")
app.add_typer(corpus.app, name="corpus")
app.add_typer(data.app, name="target")
app.add_typer(judge.app, name="judge")
app.add_typer(monitor.app, name="retrain")
app.add_typer(stage.app, name="stage")


def _interrupt(number: int, _frame: object) -> None:
    """Ctrl-C, a polite kill and a closed terminal end what we started; the second one, and a library that will not let
    go, end it at once."""
    for ending in _INTERRUPTIONS:
        signal.signal(ending, _leave)
    patience = threading.Timer(_PATIENCE_SECONDS, _leave)
    patience.daemon = True
    patience.start()
    raise KeyboardInterrupt(signal.Signals(number).name)


def _leave(*_: object) -> None:
    """Leave now, and take all children along. Nothing is lost: whatever is finished was renamed into place."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    print("timbre: interrupted; run the same command again to go on where it stopped", file=sys.stderr, flush=True)
    os._exit(130)


def _require_extra(words: list[str]) -> None:
    """Before any work: a command that cannot do anything without its extra says so. Help is shown whatever is installed.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    from timbre.extras import require

    command = next((word for word in words if not word.startswith("-")), "")
    if (extra := _EXTRA_OF.get(command)) is not None and "--help" not in words:
        require(extra, f"`timbre {command}`")


def main() -> None:
    """Run the command; turn what went wrong into one sentence and an exit code."""
    from timbre.cli.errors import INTERRUPTED, explain

    show_any_letter()
    spare_loopback(os.environ)
    os.environ.setdefault(*SPINS)  # read when torch is imported, here and in every process that is started
    for number in _INTERRUPTIONS:
        signal.signal(number, _interrupt)
    try:
        _require_extra(sys.argv[1:])
        app()
    except SystemExit as ending:
        if ending.code == INTERRUPTED:
            print(f"timbre: {explain(KeyboardInterrupt())[0]}", file=sys.stderr)
        raise
    except BaseException as error:  # Prefect raises one of its own on SIGTERM
        message, code = explain(error)
        print(f"timbre: {message}", file=sys.stderr)
        sys.exit(code)
