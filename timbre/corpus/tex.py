r"""Prose out of LaTeX: what stands between \begin{document} and \end{document}, without commands, formulas, tables and notes."""

import re
import unicodedata

from timbre.corpus.raw import Prose

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*(?:\n[ \t]*)?")
_GONE = (
    "equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "figure", "wrapfigure", "table", "tabular",
    "tabularx", "longtable", "verbatim", "lstlisting", "minted", "algorithm", "algorithmic", "tikzpicture", "thebibliography",
    "comment", "filecontents",
)  # fmt: skip
_ENVIRONMENT = re.compile(rf"\\begin\{{({'|'.join(_GONE)})(\*?)\}}.*?\\end\{{\1\2\}}", re.DOTALL)
_DISPLAYED = re.compile(r"(?<!\\)\$\$.*?\$\$|\\\[.*?\\\]", re.DOTALL)
_INLINE = re.compile(r"(?<!\\)\$([^$\n]{1,200}(?:\n[^$\n]{1,200})?)(?<!\\)\$|\\\((.*?)\\\)", re.DOTALL)
_VERSE = re.compile(r"\\begin\{(verse|poem|altverse)\}(?:\[[^\]]*\])?(.*?)\\end\{\1\}", re.DOTALL)
_HEADING = re.compile(r"\\(part|chapter|section|subsection|subsubsection|paragraph|poemtitle|title)\*?(?:\[[^\]]*\])?\{")
_DROPPED = frozenset({
    "footnote", "footnotetext", "marginpar", "label", "ref", "eqref", "pageref", "cite", "citep", "citet", "parencite", "autocite",
    "textcite", "index", "input", "include", "includegraphics", "bibliography", "bibliographystyle", "caption", "pagestyle",
    "thispagestyle", "vspace", "hspace", "setlength", "addtolength", "setcounter", "addtocounter", "newcommand", "renewcommand",
    "providecommand", "usepackage", "documentclass", "date", "author", "thanks", "pagenumbering", "addcontentsline", "hypersetup",
    "color", "fontsize", "selectlanguage", "url", "endnote", "todo", "markboth", "markright", "phantomsection", "glossary",
    "printbibliography", "nocite", "hyphenation", "definecolor", "sidenote",
})  # fmt: skip
_SECOND = frozenset({"href", "textcolor", "foreignlanguage", "colorbox", "scalebox", "parbox", "raisebox", "hyperref"})
"""Commands whose second argument is what is shown."""
_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308", "=": "\u0304", ".": "\u0307", "u": "\u0306", "v": "\u030c",
    "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323", "b": "\u0331",
}  # fmt: skip
_ACCENT = re.compile(
    r"\\(?:([`'^~\"=.])[ ]*(?:\{\\?([A-Za-z])\}|\\?([A-Za-z])\b ?|([A-Za-z]))|([uvHckrdb])(?:\{\\?([A-Za-z])\}| ([A-Za-z])))"
)
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "ı",
    "ldots": "…", "dots": "…", "textellipsis": "…", "textemdash": "—", "textendash": "–", "S": "§", "pounds": "£",
    "textquoteright": "’", "textquoteleft": "‘", "textquotedblleft": "“", "textquotedblright": "”", "LaTeX": "LaTeX", "TeX": "TeX",
    "euro": "€", "guillemotleft": "«", "guillemotright": "»", "og": "«", "fg": "»", "copyright": "©", "textbackslash": "\\",
    "slash": "/", "P": "¶", "textdegree": "°", "degree": "°",
}  # fmt: skip
_QUOTE = re.compile(r"\\(?:enquote|say)\*?\{")
_COMMAND = re.compile(r"\\([A-Za-z@]+)\*?[ \t]*\n?(?=(\[|\{)?)")
_ESCAPED = re.compile(r"\\([#$%&_{}])")
_SPACES = re.compile(r"\\[,;:!> ]|~")
_BREAK = re.compile(r"\\\\\*?(?:\[[^\]\n]*\])?[!>]?")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LEAST_FORMULA = re.compile(r"[\w\s.,+=<>-]{1,20}")


def read_tex(text: str) -> Prose:
    """Paragraphs and headings. Footnotes, formulas that are set apart, tables, pictures, citations and labels stay out."""
    text = _COMMENT.sub(r"\1", text.replace("\r\n", "\n").replace("\r", "\n"))
    start, end = re.search(r"\\begin\{document\}", text), re.search(r"\\end\{document\}", text)
    text = text[start.end() if start else 0 : end.start() if end else len(text)]
    shown = len(text)
    text = _DISPLAYED.sub(" ", _ENVIRONMENT.sub("\n\n", text))
    text = _INLINE.sub(_formula, text)
    text = _VERSE.sub(lambda verse: "\n\n" + _PARAGRAPH.sub("\n\n", re.sub(r"(?<!\n)\n(?!\n)", "\n", _verse(verse[2]))) + "\n\n", text)
    paragraphs, headings = [], []
    for block in _PARAGRAPH.split(_marked(text)):
        plain = _plain(block)
        if plain.startswith("\x01"):
            headings.append(plain := plain.strip("\x01 \n"))
        if plain := plain.replace("\x01", "").strip():
            paragraphs.append(plain)
    return Prose("\n\n".join(paragraphs), max(shown - text.count("\\"), sum(map(len, paragraphs))), tuple(filter(None, headings)))


def _formula(found: re.Match[str]) -> str:
    inside = (found[1] or found[2] or "").strip()
    return inside if _LEAST_FORMULA.fullmatch(inside) else ""


def _verse(inside: str) -> str:
    lines = [line.strip() for line in _BREAK.sub("\x02", inside).replace("\n", " \n").split("\n")]
    joined = "\n".join(lines)
    return re.sub(r"\x02[ \t]*\n?", "\x02", joined)


def _marked(text: str) -> str:
    """Headings as paragraphs of their own, marked."""
    parts, place = [], 0
    while (found := _HEADING.search(text, place)) is not None:
        inside, end = _argument(text, found.end() - 1)
        parts += [text[place : found.start()], "" if found[1] == "title" else f"\n\n\x01{' '.join(inside.split())}\x01\n\n"]
        place = end
    return "".join([*parts, text[place:]])


def _argument(text: str, place: int) -> tuple[str, int]:
    """What stands in the braces that open at a place, and where they end."""
    depth = 0
    for at in range(place, len(text)):
        if text[at] in "{}" and (at == 0 or text[at - 1] != "\\"):
            depth += 1 if text[at] == "{" else -1
            if not depth:
                return text[place + 1 : at], at + 1
    return text[place + 1 :], len(text)


def _plain(block: str) -> str:
    """A paragraph's words: commands give what they show."""
    block = _accented(_BREAK.sub("\x02", block))
    while (found := _QUOTE.search(block)) is not None:
        inside, end = _argument(block, found.end() - 1)
        block = f"{block[: found.start()]}“{inside}”{block[end:]}"
    block = _without_commands(block)
    block = _SPACES.sub(" ", _ESCAPED.sub(lambda found: {"{": "\x03", "}": "\x04"}.get(found[1], found[1]), block))
    block = block.replace("{", "").replace("}", "").replace("\x03", "{").replace("\x04", "}")
    block = block.replace("---", "—").replace("--", "–").replace("``", "“").replace("''", "”").replace("`", "‘").replace("'", "’")
    block = block.replace("\\-", "").replace("\\/", "").replace("\\@", "")
    lines = [" ".join(line.split()) for line in block.split("\x02")]
    return "\u2028".join(line for line in lines if line)


def _without_commands(block: str) -> str:
    parts, place = [], 0
    while (found := _COMMAND.search(block, place)) is not None:
        parts.append(block[place : found.start()])
        name, at, shown = found[1], found.end(), _LETTERS.get(found[1], "")
        while at < len(block) and block[at] == "[" and (close := block.find("]", at)) >= 0 and not shown:
            at = close + 1
        if name in ("begin", "end"):
            _, at = _argument(block, at) if at < len(block) and block[at] == "{" else ("", at)
            while at < len(block) and block[at] == "[" and (close := block.find("]", at)) >= 0:
                at = close + 1
        elif name == "item":
            shown = "\x02"
        elif name in _DROPPED:
            while at < len(block) and block[at] == "{":
                _, at = _argument(block, at)
        elif name in _SECOND and at < len(block) and block[at] == "{":
            _, at = _argument(block, at)
        place = at
        parts.append(shown)
    return "".join([*parts, block[place:]])


def _accented(block: str) -> str:
    def letter(found: re.Match[str]) -> str:
        mark = found[1] or found[5]
        base = next(each for each in (found[2], found[3], found[4], found[6], found[7]) if each)
        return unicodedata.normalize("NFC", base + _ACCENTS[mark])

    return _ACCENT.sub(letter, block)
