"""Prose out of Markdown as people write it: CommonMark with front matter, tables, footnotes and wiki links."""

import json
import re
import tomllib
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
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
_HEADER = re.compile(r"\A(?:[A-Za-z][\w -]{0,30}:[ \t]+\S.*\n(?:[ \t]+\S.*\n)*){2,}(?=[ \t]*\n)|\A(?:%[ \t].*\n){1,3}(?=[ \t]*\n)")
"""Lines of `Key: value`, or those of Pandoc's title, at the top."""
_UNDER_TITLE = re.compile(r"\A(\s*#[ \t]+\S.*\n(?:[ \t]*\n)?)((?:[A-Z][\w /()-]{0,30}:[ \t]+\S.{0,160}\n){1,20})(?=[ \t]*\n)")
_FIELD = re.compile(
    r"^(?:(?:created|last edited)(?: \w+)?|updated|tags?|status|url|author|type|category|property|published|date):",
    re.IGNORECASE | re.MULTILINE,
)
"""Fields that an exporting program lists under a page's title."""
_HEADER_KEY = re.compile(r"(?:title|author|date|layout|created|updated|tags|category|categories|slug|subtitle|status|css)\b", re.IGNORECASE)
_YAML_LINE = re.compile(r"^(?:[\w\"'. -]{1,60}:(?:\s|$)|#|\s*- )", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->|(?<!\S)%%(?!\d).*?%%(?!\w)|\{>>.*?<<\}|\{--.*?--\}", re.DOTALL)
_EDITED = re.compile(r"\{(?:\+\+|==)(.*?)(?:\+\+|==)\}|\{~~.*?~>(.*?)~~\}", re.DOTALL)
_DEFINITION = re.compile(r"(?<=[^\n])\n[:~][ \t]{1,3}(?=\S)")
_ABBREVIATION = re.compile(r"^\*\[[^\]\n]+\]:.*$", re.MULTILINE)
_EMBED = re.compile(r"!\[\[[^\]\n]*\]\]")
_WIKI = re.compile(r"\[\[([^\]\n|#]*)(?:#[^\]\n|]*)?(?:\\?\|([^\]\n]*))?\]\]")
_NOTE_MARK = re.compile(r"\[\^[^\]\s]{1,60}\](?!:)")
_NOTE = re.compile(r"^ {0,3}\[\^[^\]\s]{1,60}\]:[ \t]*", re.MULTILINE)
_INLINE_NOTE = re.compile(r"\^\[([^\]\n]*)\]")
_GRID_TABLE = re.compile(r"^\+[-=:+]{3,}\+[ \t]*\n(?:[+|].*(?:\n|\Z))+", re.MULTILINE)
_PROPERTY = re.compile(r"^[ \t]*(?:[-*][ \t]+)?[\w-]{1,40}::(?:[ \t]+.*)?$", re.MULTILINE)
_BLOCK_LINK = re.compile(r"\(\([\w-]{6,40}\)\)")
_MODULE_LINE = re.compile(
    r"^(?:import|export)[ \t](?:.*[ \t]from[ \t]*['\"].*|['\"].*|(?:const|let|default|function)[ \t].*)$", re.MULTILINE
)
_LIQUID_CODE = re.compile(r"\{%-?\s*(highlight|comment)\b.*?%\}.*?\{%-?\s*end\1\s*-?%\}", re.DOTALL)
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}|\{%.*?%\}|\{\{[^{}\n]*\}\}", re.DOTALL)
_ATTRIBUTES = re.compile(r"[ \t]*\{[:#.][^{}\n]*\}[ \t]*$", re.MULTILINE)
_CONTENTS = re.compile(r"^[ \t]*(?:\[TOC\]|\[\[_?TOC_?\]\]|\{:toc\})[ \t]*$", re.MULTILINE | re.IGNORECASE)
_CITATION = re.compile(
    r"[ \t]?\[(?:[^\[\]\n@]{0,60};[ ]|(?:(?:but|and|see|cf|compare|also|after|e\.g|vgl|siehe|voir|pp?)\b\.?,?[ ]){1,3})?"
    r"-?@[\w:./+-]+(?:[,;:][^\[\]\n]*|[ ](?:(?:pp?|ch|chap|sec|vol|fig|S)\.|chapter|section|§|\d)[^\[\]\n]*)?\](?!\()",
    re.IGNORECASE,
)
"""Pandoc's: a key alone, behind others, or behind a word that refers, and before nothing but where in the work; other brackets that
mention somebody are the writer's."""
_SPAN = re.compile(r"(?<!!)\[([^\[\]\n]+)\]\{[.#:][^{}\n]*\}")
_SUBSCRIPT = re.compile(r"(?<=[\w)\]])(?:([~^])([^\s~^]{1,20})\1(?![\w~^])|~(\d{1,4})~(?![~^]))")
"""H~2~O, x^2^; a letter behind one that is no number tells that the marks are no pair."""
_MARKER_LINE = re.compile(r"^[ \t]*(?::{3,}.*|\[TOC\]|\[\[_TOC_\]\]|(?:#[\w/-]+[ \t]*)+)$", re.MULTILINE)
_CALLOUT = re.compile(r"^((?:[ \t]*>)+[ \t]*)\[![\w-]+\][+-]?[ \t]*", re.MULTILINE)
_TASK = re.compile(r"^([ \t]*(?:[-*+]|\d+[.)])[ \t]+)\[[ xX/-]\][ \t]+", re.MULTILINE)
_HIGHLIGHT = re.compile(r"==(?=\S)([^=\n]+?)(?<=\S)==")
_FORMULA = re.compile(
    r"^[ \t]*(?:\$\$.*?\$\$|\\\[.*?\\\]|\\begin\{(align|equation|gather|eqnarray|multline)(\*?)\}.*?\\end\{\1\2\})[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_BLOCK_ID = re.compile(r"(?<=\s)\^[A-Za-z0-9-]{2,40}[ \t]*$", re.MULTILINE)
_LINE_BLOCK = re.compile(r"(?<![^\n]\n)(?:^\|(?: [^|\n]*)?(?:\n|\Z)){2,}", re.MULTILINE)
_BREAK = '<br class="verse">'
"""The end of a line that is meant; the reader of pages knows it."""
_NARROWEST, _VERSE_WIDTH, _WIDEST, _POEM = 34, 60, 100, 0.3


def read_markdown(text: str) -> tuple[Prose, dict[str, Any]]:
    """The prose of a file with its headings, and its front matter (YAML, TOML or JSON; empty if there is none).

    Left out are front matter, code, formulas, tables of data, embedded files and comments. A footnote stays as a paragraph, a
    wiki link as its text, a line block (`| …`) as its lines.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    body, matter = front_matter(text)
    body = _LINE_BLOCK.sub(_lines_broken, body)
    for pattern, put in _REPLACED:
        body = pattern.sub(put, body)
    return read_html(_parser().render(body)), matter


def front_matter(text: str) -> tuple[str, dict[str, Any]]:
    """The text below its front matter, and what that says; the whole text where there is none."""
    text = text.lstrip("\n")
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
    if (under := _UNDER_TITLE.match(text)) is not None and len(_FIELD.findall(under[2])) >= min(2, under[2].count("\n")):
        lines = (line.partition(":") for line in under[2].split("\n"))
        return under[1] + text[under.end() :], {key.strip().lower(): value.strip() for key, colon, value in lines if colon}
    if (header := _HEADER.match(text)) is not None and (header[0].startswith("%") or _HEADER_KEY.match(header[0])):
        lines = (line.partition(":") for line in header[0].split("\n"))
        return text[header.end() :], {key.strip().lower(): value.strip() for key, colon, value in lines if colon}
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


def _plain(match: re.Match[str]) -> str:
    """A letter or number that stands above or below the line; 2^3^4^5 as it is, since a mark before it is open."""
    word = match.string[max(0, match.start() - 80) : match.start()].split()[-1:]
    marked = "".join(word).count(match[1] or "~")
    return match[0] if marked % 2 else str(match[2] or match[3])


_REPLACED: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_CONTENTS, ""), (_COMMENT, ""), (_EDITED, r"\1\2"), (_ABBREVIATION, ""), (_DEFINITION, "\n\n"), (_LIQUID_CODE, ""), (_GRID_TABLE, ""),
    (_PROPERTY, ""), (_BLOCK_LINK, ""), (_MODULE_LINE, ""), (_FORMULA, ""), (_BLOCK_ID, ""), (_EMBED, ""), (_WIKI, _link_text),
    (_NOTE, "\n"), (_NOTE_MARK, ""), (_INLINE_NOTE, r" (\1)"), (_CITATION, ""), (_SPAN, r"\1"), (_SUBSCRIPT, _plain), (_SHORTCODE, ""),
    (_ATTRIBUTES, ""), (_MARKER_LINE, ""), (_CALLOUT, r"\1"), (_TASK, r"\1"), (_HIGHLIGHT, r"\1"),
)  # fmt: skip
"""What CommonMark does not know, and what is put in its place, in this order."""


@lru_cache(maxsize=1)
def _parser() -> Any:
    """Markdown to the HTML that is read on, without code; lines of verse are broken, other lines joined."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore

    def keep_verse(state: StateCore) -> None:
        broken = [
            token for token in state.tokens if token.type == "inline" and any(child.type == "softbreak" for child in token.children or [])
        ]
        verse = [_is_verse(token.content.split("\n")) for token in broken]
        poem = sum(verse) >= max(2, _POEM * len(broken))
        for token, found in zip(broken, verse, strict=True):
            if found or (poem and not any(line.strip()[:1].islower() for line in token.content.split("\n"))):
                for child in token.children or []:
                    child.type = "hardbreak" if child.type == "softbreak" else child.type

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.core.ruler.push("verse", keep_verse)
    parser.add_render_rule("hardbreak", lambda *_: _BREAK)
    parser.add_render_rule("fence", lambda *_: "")
    parser.add_render_rule("code_block", lambda renderer, tokens, index, *_: _indented(tokens[index].content))
    return parser


def _is_verse(lines: list[str]) -> bool:
    """Whether the ends of lines are meant: too narrow for a page; or most lines begin with a capital (or in a script that has none)
    and are narrower than a page, or would have taken the next one's first word."""
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) < 2:
        return False
    width = max(map(len, lines))
    if width < _NARROWEST:
        return True
    if len(lines) < 3 or sum(not line[0].islower() for line in lines) < (0.7 if width <= _WIDEST else 0.9) * len(lines):
        return False
    full = sum(len(line) + 1 + len(following.split()[0]) > width - 4 for line, following in pairwise(lines))
    ended = sum(line[-1] in ".!?…" for line in lines)
    return width <= _VERSE_WIDTH or (full < (0.5 if width <= _WIDEST else 0.35) * len(lines) and ended < 0.7 * len(lines))


def _indented(content: str) -> str:
    """Four spaces make code of what is often verse or a letter; it stays where it is nearly all letters."""
    from html import escape

    if letter_share(content) < 0.85 or not re.search(r"\w\s+\w+\s+\w", content):
        return ""
    stanzas = re.split(r"\n[ \t]*\n", content.strip("\n"))
    return "".join(f"<p>{_BREAK.join(escape(line.strip()) for line in stanza.splitlines())}</p>" for stanza in stanzas)
