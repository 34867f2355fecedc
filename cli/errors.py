"""From an exception to a sentence and an exit code."""

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from timbre.extras import lacking

BUG, INPUT, GATE_FAIL, INCONCLUSIVE, WAITING, INTEGRITY, LOST_RACE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 130
_FULL = "the disk is full"
OF_REFUSAL = {"FAIL": GATE_FAIL, "INCONCLUSIVE": INCONCLUSIVE, "PASS": INPUT}
"""By the verdict that stands in the way of a promotion. Behind PASS no gate failed: another policy has to be asked for."""


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user, and the exit code.

    Only a bug shows a traceback, unless TIMBRE_DEBUG is set: then everything does. The classes of heavy rooms are looked
    up among the modules that are loaded already: an error of a class can only come from a module that was imported.
    """
    if os.environ.get("TIMBRE_DEBUG") and not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error)
    if _is_full(error):
        return _full_disk(error), INPUT
    if isinstance(error, ModuleNotFoundError) and (missing := lacking(error)) is not None:
        return missing, INPUT
    for kinds, code, sentence in _table():
        if isinstance(error, kinds):
            return sentence(error), code if isinstance(code, int) else code(error)
    if not os.environ.get("TIMBRE_DEBUG") and not isinstance(error, RuntimeError):
        traceback.print_exception(error)
    return f"{type(error).__name__}: {error}", BUG


def _is_full(error: BaseException) -> bool:
    """By number, or by the words of libraries that pass on no number (SQLite, safetensors, a child's last line)."""
    known = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return known or any(words in str(error) for words in ("No space left on device", "Disk quota exceeded", "disk is full"))


def _full_disk(error: BaseException) -> str:
    """Which folder, how much is free there, and what to do; what a stage has said already is passed on as it is."""
    from timbre.settings import settings

    if str(error).startswith(_FULL):
        return str(error)
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)  # of a copy, the second is where it went
    folder = Path(named).absolute().parent if isinstance(named, str | os.PathLike) and os.fspath(named) else settings().home
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**20
    return f"{_FULL} under {folder} ({free:,.0f} MiB free); nothing half-written stays: free some space and run the same command again"


def _table() -> list[tuple[tuple[type[BaseException], ...], int | Callable[[Any], int], Callable[[Any], str]]]:
    """Kinds of error, exit code (or what tells it) and sentence; the first that fits counts."""
    interrupted = "interrupted; run the same command again to go on where it stopped"
    return [
        ((KeyboardInterrupt, _loaded("prefect.exceptions", "TerminationSignal")), INTERRUPTED, lambda error: interrupted),
        ((_loaded("timbre.artifacts", "IntegrityError"),), INTEGRITY, str),
        ((_loaded("timbre.registry.ledger", "CompareAndSetLost"),), LOST_RACE, str),
        ((_loaded("timbre.registry.promotion", "PromotionRefused"),), lambda error: OF_REFUSAL[error.outcome], str),
        ((_loaded("timbre.targets.admission", "TargetRefused"),), GATE_FAIL, str),
        ((_loaded("pydantic", "ValidationError"),), INPUT, _fields),
        ((PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError), INPUT, _file),
        ((ValueError,), INPUT, str),
    ]


def _file(error: OSError) -> str:
    """The file and what is wrong with it, without the number."""
    return str(error) if error.filename is None or not error.strerror else f"{error.filename}: {error.strerror.lower()}"


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
        f"{'.'.join(map(str, item['loc'])) or 'value'}: {_reason(item, error.title)}"
        + ("" if secret or not item["loc"] else f" (got {item['input']!r})")
        for item in error.errors()
    )


def _reason(item: Any, title: str) -> str:
    if item["type"] != "extra_forbidden":
        return str(item["msg"].removeprefix("Value error, "))
    known = _siblings(item["loc"]) if title == "ReleaseConfig" else []
    near = get_close_matches(str(item["loc"][-1]), known, n=3) or known
    return "no such field" + (f"; {'known are' if near is known else 'near it:'} {', '.join(near)}" if near else "")


def _siblings(place: Sequence[Any]) -> list[str]:
    """The fields of a release that may stand where one was named that is not there; empty within lists."""
    from timbre.config import ReleaseConfig

    model: Any = ReleaseConfig
    for name in place[:-1]:
        field = getattr(model, "model_fields", {}).get(name)
        model = field.annotation if field is not None else None
    return sorted(getattr(model, "model_fields", {}))
