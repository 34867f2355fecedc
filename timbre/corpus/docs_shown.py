"""Data Docs as people look at them: Great Expectations' pages with the time of the check, the asset's name, and the look of our pages.

What lies in the corpus holds no time, since the same documents give the same bytes; this is a copy of it, made for reading.
"""

import re
import shutil
from html import escape
from pathlib import Path

from timbre.artifacts import Artifact
from timbre.corpus.data_docs import NO_TIME

_LOOK = (Path(__file__).parents[1] / "page" / "templates" / "page.css", Path(__file__).parent / "templates" / "docs.css.j2")
_HEADING = re.compile(r'<h1 class=\\?"container-fluid\\?">')
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_ICON = re.compile(r'<link rel="(?:shortcut )?icon"[^>]*>')
"""Of a file that Great Expectations does not write."""
_ASSET = re.compile(r"(Data asset:(?:\s|<[^>]*>)*)None")


def shown_docs(corpus: Artifact, folder: Path, at: str) -> Path:
    """Copy the corpus' Data Docs into the new or existing `folder`, with the time of the check in words and the asset's name.

    Returns:
        The index page.
    """
    style = str(corpus.manifest.config.get("style", "corpus"))
    look = f"<style>{''.join(path.read_text(encoding='utf-8') for path in _LOOK)}</style>"
    source = corpus.path / "data_docs"
    for path in sorted(entry for entry in source.rglob("*") if entry.is_file()):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".html":
            shutil.copyfile(path, target)
            continue
        text = path.read_text(encoding="utf-8").replace(NO_TIME, escape(at))
        text = _ASSET.sub(rf"\g<1>{escape(style)}, documents", text)
        text = _HEADING.sub('<h1 class="container-fluid">', text)
        target.write_text(_STYLE.sub("", _ICON.sub("", text)).replace("</head>", f"{look}</head>", 1), encoding="utf-8")
    return folder / "index.html"
