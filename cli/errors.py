"""From an exception to a sentence and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

BUG, INPUT, GATE_FAIL, INCONCLUSIVE, WAITING, INTEGRITY, LOST_RACE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 130


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user, and the exit code of DESIGN's contract.

    Only a bug shows a traceback. The classes of heavy rooms are looked up among the modules that are loaded already:
    an error of a class can only come from a module that was imported.
    """
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(words in str(error) for words in ("No space left on device", "disk is full")):
        return "the disk is full; free some space and run the same command again", INPUT
    for kinds, code, sentence in _table():
        if isinstance(error, kinds):
            return sentence(error), code
    if os.environ.get("TIMBRE_DEBUG") or not isinstance(error, RuntimeError):
        traceback.print_exception(error)
    return f"{type(error).__name__}: {error}", BUG


def _table() -> list[tuple[tuple[type[BaseException], ...], int, Callable[[Any], str]]]:
    """Kinds of error, exit code and sentence; the first that fits counts."""
    interrupted = "interrupted; run the same command again to go on where it stopped"
    refused = (_loaded("timbre.registry.promotion", "PromotionRefused"), _loaded("timbre.targets.admission", "TargetRefused"))
    return [
        ((KeyboardInterrupt, _loaded("prefect.exceptions", "TerminationSignal")), INTERRUPTED, lambda error: interrupted),
        ((_loaded("timbre.artifacts", "IntegrityError"),), INTEGRITY, str),
        ((_loaded("timbre.registry.ledger", "CompareAndSetLost"),), LOST_RACE, str),
        (refused, GATE_FAIL, str),
        ((_loaded("pydantic", "ValidationError"),), INPUT, _fields),
        ((ValueError, PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError), INPUT, str),
    ]


def _loaded(module: str, name: str) -> type[BaseException]:
    """The class if its module is loaded, else one that nothing is an instance of."""
    found: type[BaseException] = getattr(sys.modules.get(module), name, _Never)
    return found


class _Never(BaseException):
    pass


def _fields(error: Any) -> str:
    """Which fields are wrong, and why; what they hold is repeated only where it cannot be a secret."""
    secret = error.title == "Settings"
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg'].removeprefix('Value error, ')}"
        + ("" if secret or not item["loc"] else f" (got {item['input']!r})")
        for item in error.errors()
    )
