"""From a template and what it shows to the text of a page: one environment, one way to write numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    environment.filters.update(number=number, cell=cell)
    return environment.get_template(f"{template}.j2").render(context)


def number(value: Any) -> str:
    """Three significant digits, thousands separated, a real minus sign; "–" for nothing."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def cell(value: Any) -> str:
    """Text that may stand in a cell of a Markdown table: no bar, no line break, and nothing that a viewer takes for HTML."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
