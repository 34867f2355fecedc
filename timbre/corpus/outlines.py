"""Org and AsciiDoc as the Markdown that says the same, so that one reader decides what is prose."""

import re

_ORG_BLOCK = re.compile(r"^[ \t]*#\+begin_(\w+)[^\n]*\n(.*?)^[ \t]*#\+end_\1[^\n]*$", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_ORG_DRAWER = re.compile(r"^[ \t]*:[A-Za-z][\w-]*:[ \t]*\n(?:.*\n)*?[ \t]*:END:[ \t]*$", re.IGNORECASE | re.MULTILINE)
_ORG_LINES = re.compile(r"^[ \t]*(?:#\+.*|#(?:[ \t].*)?|(?:SCHEDULED|DEADLINE|CLOSED|CLOCK):.*|\|.*|-{5,}|: .*)$", re.MULTILINE)
_ORG_HEAD = re.compile(
    r"^(\*+)[ \t]+(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED|HOLD|IDEA)[ \t]+)?"
    r"(?:\[#[A-Z]\][ \t]*)?(?:COMMENT[ \t]+)?(.*?)(?:[ \t]+:[\w@#%:]+:)?[ \t]*$",
    re.MULTILINE,
)
_ORG_COMMENTED = re.compile(r"^(\*+)[ \t]+COMMENT\b.*\n(?:(?!\1?\*{1,}[ \t]).*\n?)*", re.MULTILINE)
_ORG_LINK = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")
_ORG_NOTE = re.compile(r"\[fn:[^\[\]:]*:([^\[\]]*)\]")
_ORG_NOTE_MARK = re.compile(r"\[fn:[^\[\]\s:]+\](?!:)")
_ORG_NOTE_BODY = re.compile(r"^\[fn:[^\[\]\s:]+\][ \t]+(?=\S)", re.MULTILINE)
_ORG_STAMP = re.compile(r"[<\[]\d{4}-\d{2}-\d{2}[^<>\[\]\n]*[>\]](?:--[<\[]\d{4}-[^<>\[\]\n]*[>\]])?")
_ORG_MARK = re.compile(r"(?<![\w/*_+=~])([*/_+=~])(?=\S)([^\n]{1,200}?)(?<=\S)\1(?![\w/*_+=~])")
_DATE = re.compile(r"^(?:#\+DATE:|:(?:revdate|date|docdate):)[ \t]*[<\[]?([^<>\[\]\n]+?)[>\]]?[ \t]*$", re.IGNORECASE | re.MULTILINE)


def date_of(text: str) -> str | None:
    """The date that a file's own header states, in its words."""
    found = _DATE.search(text)
    return None if found is None else found[1]


def org_as_markdown(text: str) -> str:
    """Org's text without properties, code, tables and comments; headings, links, verse and quotations in Markdown's form."""
    text = _ORG_COMMENTED.sub("", text.replace("\r\n", "\n"))
    text = _ORG_BLOCK.sub(_org_block, _ORG_DRAWER.sub("", text))
    text = _ORG_LINES.sub("", text)
    text = _ORG_NOTE.sub(r" (\1)", text)
    text = _ORG_NOTE_MARK.sub("", _ORG_NOTE_BODY.sub("\n", text))
    text = _ORG_STAMP.sub("", text)
    text = _ORG_LINK.sub(lambda link: link[2] or ("" if re.match(r"(?:file|https?|attachment|id):", link[1]) else link[1]), text)
    text = _ORG_HEAD.sub(lambda head: f"\n{'#' * min(6, len(head[1]))} {head[2]}\n", text)
    return _ORG_MARK.sub(r"\2", text)


def _org_block(block: re.Match[str]) -> str:
    kind, inside = block[1].lower(), block[2]
    if kind == "verse":
        return _broken(inside)
    return f"\n{inside}\n" if kind in ("quote", "center") else ""


def _broken(verse: str) -> str:
    stanzas = re.split(r"\n[ \t]*\n", verse.strip("\n"))
    return "\n" + "\n\n".join("  \n".join(line.strip() for line in stanza.split("\n")) for stanza in stanzas) + "\n"


_DOC_COMMENT_LINE = re.compile(r"^//(?!/).*$", re.MULTILINE)
_DOC_COMMENT_BLOCK = re.compile(r"^(/{4,})[ \t]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_DOC_CODE = re.compile(
    r"^(?:\[[^\]\n]*\][ \t]*\n)?(?:\.[^\s.][^\n]*\n)?(-{4,}|\.{4,}|\+{4,}|```)[^\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL
)
_DOC_TABLE = re.compile(r"^([|,:!]={3,})[ \t]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_DOC_VERSE = re.compile(
    r"^\[(?:verse|poem)[^\]\n]*\][ \t]*\n(?:_{4,}[ \t]*\n(.*?)^_{4,}[ \t]*$|((?:[^\n]*\S[^\n]*\n?)+))", re.MULTILINE | re.DOTALL
)
_DOC_HEADER = re.compile(r"\A\s*(= [^\n]+\n)(?:(?![ \t]*$)[^:\n=][^\n]*\n){0,2}(?=:|\n|\Z)", re.MULTILINE)
_DOC_LINES = re.compile(
    r"^(?::!?[\w-]+!?:.*|\[[^\]\n]*\][ \t]*"
    r"|(?:image|video|audio|include|toc|ifdef|ifndef|ifeval|endif|icon)::.*|<<<|'{3,}|={4,}|_{4,}|\*{4,}|--|\+)[ \t]*$",
    re.MULTILINE,
)
_DOC_BLOCK_TITLE = re.compile(r"^\.(?=[^\s.])", re.MULTILINE)
_DOC_HEAD = re.compile(r"^(={1,6})[ \t]+(\S.*?)[ \t]*=*$", re.MULTILINE)
_DOC_MACRO = re.compile(r"(?:link|mailto|xref):[^\s\[\]]+\[([^\]\n]*)\]|https?://[^\s\[\]]+\[([^\]\n]+)\]|<<[^<>,\n]+,[ ]?([^<>\n]+)>>")
_DOC_DROPPED = re.compile(
    r"(?:image|icon|kbd|btn|menu|indexterm2?|anchor|pass|stem|latexmath):[^\s\[\]]*\[[^\]\n]*\]|\(\(\([^()\n]*\)\)\)|\[\[[^\[\]\n]*\]\]|<<[^<>\n]*>>"
)
_DOC_NOTE = re.compile(r"footnote(?:ref)?:[^\s\[\]]*\[([^\]\n]*)\]")
_DOC_ROLE = re.compile(r"\[[.#%][^\]\n]*\](?=[#*_])")
_DOC_MARK = re.compile(r"(?<![\w*_`#])(\*\*|__|``|##|[*_`#])(?=\S)([^\n]{1,300}?)(?<=\S)\1(?![\w*_`#])")
_DOC_ADMONITION = re.compile(r"^(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+", re.MULTILINE)
_DOC_ITEM = re.compile(r"^[ \t]*(?:\*{1,5}|\.{1,5}|-)[ \t]+(?=\S)", re.MULTILINE)
_DOC_BREAK = re.compile(r"[ \t]\+$", re.MULTILINE)


def asciidoc_as_markdown(text: str) -> str:
    """AsciiDoc's text without attributes, code, tables, comments and pictures; headings, links and verse in Markdown's form."""
    text = _DOC_COMMENT_LINE.sub("", _DOC_COMMENT_BLOCK.sub("", text.replace("\r\n", "\n")))
    text = _DOC_TABLE.sub("", _DOC_CODE.sub("", text))
    text = _DOC_HEADER.sub(r"\1\n", text)
    text = _DOC_VERSE.sub(lambda verse: _broken(verse[1] or verse[2]), text)
    text = _DOC_LINES.sub("", text)
    text = _DOC_HEAD.sub(lambda head: f"\n{'#' * len(head[1])} {head[2]}\n", _DOC_ITEM.sub("- ", text))
    text = _DOC_BLOCK_TITLE.sub("", _DOC_ADMONITION.sub("", text))
    text = _DOC_NOTE.sub(r" (\1)", text)
    text = _DOC_MACRO.sub(lambda link: link[1] or link[2] or link[3] or "", text)
    text = _DOC_DROPPED.sub("", _DOC_ROLE.sub("", text))
    for _ in range(2):
        text = _DOC_MARK.sub(r"\2", text)
    return _DOC_BREAK.sub("  ", text)
