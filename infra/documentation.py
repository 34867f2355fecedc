"""What the documentation's site is made of beside its pages: used by mkdocs (`make docs`).

The order of pages follows their folders, so that a new page needs no entry. The reference of the command is written from the
command itself. Links to files of the repository that are no pages become their names.
"""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEADS = {"tutorial": "Tutorial", "how-to": "How-to", "reference": "Reference", "explanation": "Explanation", "adr": "Decisions"}
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./\.\./([^)]+)\)")
"""Pages lie one folder below `docs`: two steps up is the repository."""
_COMMANDS = "<!-- every command -->"


def on_config(config: Any) -> Any:
    """The pages of each head, sorted by name."""
    heads = [{title: [f"{name}/{path.name}" for path in sorted((DOCS / name).glob("*.md"))]} for name, title in HEADS.items()]
    config.nav = [{"Timbre": "index.md"}, *heads]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links out of the site, and the command's reference."""
    markdown = _OUTSIDE.sub(r"\1 (`\2`)", markdown)
    return markdown.replace(_COMMANDS, commands()) if _COMMANDS in markdown else markdown


def commands() -> str:
    """Every command with its help and options, as Markdown."""
    from typer.main import get_command

    from timbre.cli import app

    return "\n\n".join(_described("timbre", get_command(app)))


def _described(name: str, command: Any) -> list[str]:
    found = []
    if commands := getattr(command, "commands", None):
        for each in sorted(commands):
            found += _described(f"{name} {each}", commands[each])
        return found
    text = (command.help or "").replace("\b\n", "\n")
    usage = re.sub(r"\n((?:    )?timbre [^\n]*(?:\n    [^\n]*)*)", r"\n    \1", f"\n{text}")
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False) and parameter.name != "help"]
    table = "\n".join(["| option | default | |", "|---|---|---|", *rows]) if rows else ""
    return [f"## {name}", usage.strip(), table]


def _row(parameter: Any) -> str:
    names = [f"`{option}`" for option in parameter.opts] if parameter.param_type_name == "option" else [f"`{parameter.name.upper()}`"]
    default = "" if parameter.default in (None, False, [], ()) or callable(parameter.default) else f"`{parameter.default}`"
    told = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
    return f"| {', '.join(names)} | {default} | {told} |"
