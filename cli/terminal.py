"""What the command asks of the terminal: whole sentences in its help, letters that the terminal cannot show replaced, and texts
that were typed read as UTF-8 whatever the locale says."""

import os
import sys
from typing import Any

from typer.core import TyperGroup

_LONGEST = 400


class WholeHelp(TyperGroup):
    """A group whose list of commands wraps their first sentence instead of cutting it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_LONGEST)) for name, command in commands if command is not None and not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def show_any_letter() -> None:
    """In a terminal that is not UTF-8, a letter that it lacks is a question mark, and no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").replace("-", "").lower()
        reconfigure = getattr(stream, "reconfigure", None)
        if encoding not in ("utf8", "utf8sig") and reconfigure is not None:
            reconfigure(errors="replace")


def as_typed(text: str) -> str:
    """A text of the command line as UTF-8, where the locale made Python keep the bytes of letters that it does not know.

    Raises:
        ValueError: it is not UTF-8 either.
    """
    try:
        return os.fsencode(text).decode() if any("\udc80" <= letter <= "\udcff" for letter in text) else text
    except UnicodeDecodeError as error:
        shown = os.fsencode(text).decode(errors="replace")
        raise ValueError(f"{shown!r} is not UTF-8: type it in a terminal that is") from error
