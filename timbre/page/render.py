"""From a template and what it shows to the text of a page: one environment, one way to write numbers."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

_SHARED = Path(__file__).parent / "templates"


def render(folder: Path, template: str, context: Mapping[str, Any]) -> str:
    """The page of `<folder>/<template>.j2`, which may include the shared style sheet `page.css`.

    What comes from texts and models is escaped wherever the template makes HTML. The same input gives the same bytes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # nosec B701: what ends on .html is escaped; Markdown is no page
        loader=FileSystemLoader([folder, _SHARED]),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, cell=cell, counted=counted, ticked=ticked)
    return environment.get_template(f"{template}.j2").render(context)


def shared_style() -> str:
    """The style sheet of all pages, for those that no template makes."""
    return (_SHARED / "page.css").read_text(encoding="utf-8")


def number(value: Any) -> str:
    """Three significant digits, thousands separated, a real minus sign; "–" for nothing."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif "e" in (text := f"{value:.3g}") and abs(value) >= 1e-7:  # 0.0000618, not 6.18e-05
        text = f"{value:.{2 - math.floor(math.log10(abs(value)))}f}".rstrip("0")
    return text.replace("-", "−")


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts: "1 opening", "9 openings"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def ticked(text: str) -> Markup:
    """A sentence of ours in HTML: what stands between backticks is set as code."""
    parts = [f"<code>{escape(part)}</code>" if place % 2 else str(escape(part)) for place, part in enumerate(text.split("`"))]
    return Markup("".join(parts))  # nosec B704: every part is escaped above


def cell(value: Any) -> str:
    """Text that may stand in a cell of a Markdown table: no bar, no line break, and nothing that a viewer takes for HTML."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
