"""Data Docs as we ship them: the same bytes for the same corpus, and readable without a network.

Great Expectations' pages take style sheets, scripts, fonts and a logo from seven hosts on the internet. All of that goes;
a short style sheet of ours stands in, and what needed a script is folded open.
"""

import re
import shutil
from ast import literal_eval
from html import escape
from pathlib import Path
from typing import Any

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_WHEN = re.compile(r"\b(?!20000101T)20\d{6}T\d{6}\.\d+Z|\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00| UTC)?")
"""Any time but the fixed one of the run, which names the folder that the index leads to."""
NO_TIME = "at each build"
"""What stands where a time stood: the same documents give the same pages whenever they are built."""
_TOUR = re.compile(r"\S+\.gif")
_SCRIPT = re.compile(r"<script\b.*?</script\s*>\s*", re.DOTALL | re.IGNORECASE)
_OUTSIDE = re.compile(r"<(?:link|img)\b[^>]*?\b(?:href|src)\s*=\s*[\"']?(?:https?:)?//[^>]*>\s*", re.IGNORECASE)
_IMPORT = re.compile(r"@import\s[^;]*;|url\(\s*[\"']?(?:https?:)?//[^)]*\)", re.IGNORECASE)
_TABLE = re.compile(r"\$\('#(?P<id>[\w-]+)'\)\.bootstrapTable\(.*?columns: (?P<columns>\[.*?\]),\n\s*data: (?P<rows>\[.*?\]),\n", re.DOTALL)
_FOOTER = re.compile(r"<footer\b.*?</footer\s*>\s*", re.DOTALL | re.IGNORECASE)
_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 0; }
.container-fluid { max-width: 75em; margin: 0 auto; padding: 1em 1.5em; }
nav.navbar { height: auto !important; border-bottom: 1px solid #ccc; padding: .3em 1.5em; }
ol.breadcrumb { list-style: none; display: flex; gap: 1em; padding: 0; }
table { border-collapse: collapse; margin: .5em 0; }
th, td { border-bottom: 1px solid #ddd; padding: .3em .8em; text-align: left; vertical-align: top; }
th { background: #f4f4f4; }
h1, h2, h3, h4, h5, h6 { line-height: 1.2; margin: 1em 0 .4em; }
.card, .alert { border: 1px solid #ddd; border-radius: 4px; padding: .6em 1em; margin: .5em 0; }
.badge { background: #eee; border-radius: 3px; padding: 0 .4em; font-family: monospace; }
.badge-info, .badge-secondary { background: #e3ecf5; }
.text-success { color: #1b7837; } .text-danger { color: #b2182b; }
.text-success::before { content: "\\2713 "; } .text-danger::before { content: "\\2717 "; }
.modal, .d-none, .sr-only, .popover, .cooltip .top, button { display: none; }
.sticky { position: static; }
</style>
"""


def settle(built: Path, home: Path, style: str) -> None:
    """Copy Data Docs, titled by the style, without ids and times, what lies on other hosts, and the guided tour."""
    ids: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return ids.setdefault(match[0], f"00000000-0000-4000-8000-{len(ids):012d}")

    for path in sorted(entry for entry in built.rglob("*") if entry.is_file()):
        if _TOUR.fullmatch(path.name):
            continue
        target = home / path.relative_to(built)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            text = _WHEN.sub(NO_TIME, _UUID.sub(number, path.read_text(encoding="utf-8")))
            target.write_text(_titled(offline(text), style), encoding="utf-8")
        else:
            shutil.copyfile(path, target)


def offline(page: str) -> str:
    """A page without scripts, nor style sheets, fonts and pictures of other hosts, and with a style sheet of ours.

    What a script would have laid out (the lists of the index) is laid out here.
    """
    for script in _TABLE.finditer(page):
        page = _filled(page, script["id"], literal_eval(script["columns"]), literal_eval(script["rows"]))
    for outside in (_SCRIPT, _FOOTER, _OUTSIDE, _IMPORT):
        page = outside.sub("", page)
    return page.replace("</head>", f"{_STYLE}</head>", 1)


def _titled(page: str, style: str) -> str:
    """The style before each page's own title and at the top of the page, since every corpus has such pages."""
    heading = f"Corpus of the style {escape(style)}"
    page = re.sub(r"<title>\s*", f"<title>{heading}: ", page, count=1)
    return re.sub(r"(<body\b[^>]*>)", rf'\1\n<h1 class="container-fluid">{heading}</h1>', page, count=1)


def _filled(page: str, table: str, columns: list[dict[str, str]], rows: list[dict[str, Any]]) -> str:
    """The page with the rows in its empty table of this id; each cell leads to the page of its row."""

    def cell(row: dict[str, Any], field: str) -> str:
        link, content = row.get("_table_row_link_path"), str(row.get(field, "")).strip()
        return f'<td><a href="{escape(link)}">{content}</a></td>' if link else f"<td>{content}</td>"

    head = "".join(f"<th>{escape(str(column['title']))}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(cell(row, column['field']) for column in columns)}</tr>\n" for row in rows)
    empty = re.compile(rf'(<table\b[^>]*\bid="{re.escape(table)}"[^>]*>).*?</table>', re.DOTALL)
    return empty.sub(lambda found: f"{found[1]}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>", page, count=1)
