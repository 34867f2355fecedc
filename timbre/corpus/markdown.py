"""Prose out of Markdown as people write it: CommonMark with front matter, tables, footnotes and wiki links."""

import json
import re
import tomllib
from functools import lru_cache
from typing import Any

from timbre.corpus.raw import Prose
from timbre.corpus.web import read_html
from timbre.words import letter_share

_FENCES = (
    re.compile(r"\A---[ \t]*\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    re.compile(r"\A\+\+\+[ \t]*\n(?P<toml>.*?)^(?:\+\+\+|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    re.compile(r"\A---[ \t]?toml[ \t]*\n(?P<toml>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    re.compile(r"\A---[ \t]?json[ \t]*\n(?P<json>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    re.compile(r"\A;;;[ \t]*\n(?P<json>.*?)^;;;[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
)
_YAML_LINE = re.compile(r"^(?:[\w\"'. -]{1,60}:(?:\s|$)|#|\s*- )", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->|%%.*?%%", re.DOTALL)
_EMBED = re.compile(r"!\[\[[^\]\n]*\]\]")
_WIKI = re.compile(r"\[\[([^\]\n|#]*)(?:#[^\]\n|]*)?(?:\\?\|([^\]\n]*))?\]\]")
_NOTE_MARK = re.compile(r"\[\^[^\]\s]{1,60}\](?!:)")
_NOTE = re.compile(r"^ {0,3}\[\^[^\]\s]{1,60}\]:[ \t]*", re.MULTILINE)
_INLINE_NOTE = re.compile(r"\^\[([^\]\n]*)\]")
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}|\{%.*?%\}|\{\{[^{}\n]*\}\}", re.DOTALL)
_ATTRIBUTES = re.compile(r"[ \t]*\{[:#.][^{}\n]*\}[ \t]*$", re.MULTILINE)
_MARKER_LINE = re.compile(r"^[ \t]*(?::{3,}.*|\[TOC\]|\[\[_TOC_\]\]|(?:#[\w/-]+[ \t]*)+)$", re.MULTILINE)
_CALLOUT = re.compile(r"^((?:[ \t]*>)+[ \t]*)\[![\w-]+\][+-]?[ \t]*", re.MULTILINE)
_TASK = re.compile(r"^([ \t]*(?:[-*+]|\d+[.)])[ \t]+)\[[ xX/-]\][ \t]+", re.MULTILINE)
_HIGHLIGHT = re.compile(r"==(?=\S)([^=\n]+?)(?<=\S)==")
_FORMULA = re.compile(r"^[ \t]*\$\$.*?\$\$[ \t]*$", re.DOTALL | re.MULTILINE)
_BLOCK_ID = re.compile(r"(?<=\s)\^[A-Za-z0-9-]{2,40}[ \t]*$", re.MULTILINE)
_LINE_BLOCK = re.compile(r"(?<![^\n]\n)(?:^\|(?: [^|\n]*)?(?:\n|\Z)){2,}", re.MULTILINE)
_VERSE_WIDTH = 60


def read_markdown(text: str) -> tuple[Prose, dict[str, Any]]:
    """The prose of a file with its headings, and its front matter (YAML, TOML or JSON; empty if there is none).

    Left out are front matter, code, formulas, tables of data, embedded files and comments. A footnote stays as a paragraph, a
    wiki link as its text, a line block (`| …`) as its lines.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    body, matter = front_matter(text)
    body = _LINE_BLOCK.sub(_lines_broken, body)
    for pattern, put in (
        (_COMMENT, ""), (_FORMULA, ""), (_BLOCK_ID, ""), (_EMBED, ""), (_WIKI, _link_text), (_NOTE, "\n"), (_NOTE_MARK, ""),
        (_INLINE_NOTE, r" (\1)"), (_SHORTCODE, ""), (_ATTRIBUTES, ""), (_MARKER_LINE, ""), (_CALLOUT, r"\1"), (_TASK, r"\1"),
        (_HIGHLIGHT, r"\1"),
    ):  # fmt: skip
        body = pattern.sub(put, body)
    return read_html(_parser().render(body)), matter


def front_matter(text: str) -> tuple[str, dict[str, Any]]:
    """The text below its front matter, and what that says; the whole text where there is none."""
    for fence in _FENCES:
        if (found := fence.match(text)) is not None and (kind := str(found.lastgroup)) and _is_matter(found[kind], kind):
            return text[found.end() :], _parsed(found[kind], kind)
    if text.startswith("{"):
        try:
            matter, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return text, {}
        if isinstance(matter, dict) and text[end : end + 1] in ("\n", ""):
            return text[end:].lstrip("\n"), matter
    return text, {}


def _is_matter(block: str, kind: str) -> bool:
    """A rule (---) may begin a text too; what stands between two of them is front matter if its lines are `key: value`."""
    lines = [line for line in block.split("\n") if line.strip()]
    first = next((line for line in lines if not line.startswith("#")), "")
    return kind != "yaml" or not lines or (":" in first and _YAML_LINE.match(first) is not None)


def _parsed(block: str, kind: str) -> dict[str, Any]:
    """Front matter that cannot be read is left out all the same."""
    import yaml

    try:
        match kind:
            case "toml":
                value: Any = tomllib.loads(block)
            case "json":
                value = json.loads(block)
            case _:
                value = yaml.safe_load(block)
    except (ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def _lines_broken(match: re.Match[str]) -> str:
    return "  \n".join(line[2:].strip() for line in match[0].rstrip("\n").split("\n")) + "\n"


def _link_text(match: re.Match[str]) -> str:
    page, alias = match[1], match[2]
    return str(alias if alias else page.rsplit("/", 1)[-1])


@lru_cache(maxsize=1)
def _parser() -> Any:
    """Markdown to the HTML that is read on, without code; lines of verse are broken, other lines joined."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore

    def keep_verse(state: StateCore) -> None:
        for token in state.tokens:
            children = token.children or []
            breaks = [child for child in children if child.type == "softbreak"]
            if token.type == "inline" and len(breaks) > 1 and _is_verse(token.content.split("\n")):
                for child in breaks:
                    child.type = "hardbreak"

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.core.ruler.push("verse", keep_verse)
    parser.add_render_rule("fence", lambda *_: "")
    parser.add_render_rule("code_block", lambda renderer, tokens, index, *_: _indented(tokens[index].content))
    return parser


def _is_verse(lines: list[str]) -> bool:
    """Three lines or more, none as long as a page is wide, most beginning with a capital (or in a script that has none)."""
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) < 3 or max(map(len, lines)) > _VERSE_WIDTH:
        return False
    return sum(not line[0].islower() for line in lines) >= 0.7 * len(lines)


def _indented(content: str) -> str:
    """Four spaces make code of what is often verse or a letter; it stays where it is nearly all letters."""
    from html import escape

    if letter_share(content) < 0.85 or not re.search(r"\w\s+\w+\s+\w", content):
        return ""
    stanzas = re.split(r"\n[ \t]*\n", content.strip("\n"))
    return "".join(f"<p>{'<br>'.join(escape(line.strip()) for line in stanza.splitlines())}</p>" for stanza in stanzas)
