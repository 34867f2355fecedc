"""Prose out of a web page: the tree that a browser builds, walked for its blocks; what is no prose stays out.

Which parser, and why no extraction library: docs/adr/0011-html.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from timbre.corpus.raw import Prose

_UNSEEN = frozenset({
    "script", "style", "noscript", "template", "svg", "math", "head", "title", "iframe", "object", "embed", "canvas", "audio", "video",
    "button",
    "select", "option", "textarea", "input", "rt", "rp", "map",
})  # fmt: skip
_FURNITURE = frozenset({"nav", "footer", "aside", "figure", "figcaption", "address", "menu", "code-block", "dialog", "label", "legend"})
_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "menu", "menubar", "dialog", "alert", "toolbar"})
_FURNITURE_NAME = re.compile(
    r"(?:^|[\s_-])(?:nav(?:bar|igation|menu)?|menu|side-?bar|foot(?:er)?|site-?header|masthead|breadcrumbs?|cookies?|consent|gdpr|shar(?:e|ing)|social"
    r"|related|recommended|comments?|respond|disqus|subscribe|subscription|newsletter|signup|adverts?|advertisement|ads?|promo|sponsor|pagination"
    r"|pager|skip-?link|byline|post-?meta|entry-?meta|tag-?(?:list|cloud)|tags|toc|popup|modal|banner|copyright|printfooter|editsection|navbox"
    r"|catlinks|widget)(?:$|[\s_-])",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
"""Elements that are headings, and how deep each is."""
_HOME = re.compile(r"(?:https?://[^/]+)?/?(?:\./)?(?:(?:index|home)\.\w+)?(?:#.*)?", re.IGNORECASE)
_BLOCKS = frozenset({
    "p", "div", "li", "ul", "ol", "dl", "dd", "dt", "blockquote", "section", "article", "main", "body", "html", "table", "tbody", "thead",
    "tfoot", "tr", "td", "th", "center", "form", "fieldset", "hr", "details", "summary", "pre", "hgroup",
    "dir", "noframes", "header", "caption", *_FURNITURE, *_HEADINGS,
})  # fmt: skip
_VOID_XML = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)\b)([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>"
)
_FRAMES = re.compile(r"</?(?:frameset|frame|noframes)\b[^>]*>", re.IGNORECASE)
"""A parser that knows frames skips what stands beside them."""
_SPACE = re.compile(r"[ \t\n\r\f]+")
_NOTE_MARK = re.compile(r"\[?\(?(?:\d{1,3}|[*†‡]|[a-z])\)?\]?")
_SENTENCE = re.compile(r"[.!?…。！？।؟»”\"')]\s*$")
_LINKED, _HEADING_WORDS, _CELL_WORDS, _PAGE_SHARE = 0.6, 25, 8, 0.5


@dataclass
class _Block:
    """Text between two block boundaries, and how much of it stands in links, or in links to where the site begins."""

    parts: list[str] = field(default_factory=list)
    linked: int = 0
    home: int = 0
    level: int = 0
    """Of a heading: how deep it is."""
    plain: bool = False
    """Of a <pre>: lines and spaces are as they stand."""
    header: bool = False
    caption: bool = False
    within: bool = False
    """Inside of an article or the main part."""


def read_html(page: str) -> Prose:
    """The prose of a page with its headings, and how many characters of text a browser would show of it, menus and tables included.

    Blocks are divided by block elements and by two line breaks; one line break stays one. Left out are menus and other furniture
    (by element, role, class or id, or because most of a block is links) with their headings, tables of data, code and hidden
    parts. What would take more than half of the page with it is not furniture. A heading under which nothing is kept goes too.
    """
    from selectolax.lexbor import LexborHTMLParser

    if page.lstrip()[:5].lower() == "<?xml" or "xhtml" in page[:1000].lower():
        page = _VOID_XML.sub(r"<\1\2></\1>", page).replace("<![CDATA[", "").replace("]]>", "")
    if "<frameset" in page.lower():
        page = _FRAMES.sub("", page)
    tree = LexborHTMLParser(page)
    root = tree.body or tree.root
    if root is None:
        return Prose("", 0)
    for element in root.css(",".join(sorted(_UNSEEN))):
        element.decompose()
    shown = _length(root)
    _drop_furniture(root, shown)
    texts, headings = [], []
    for block in _kept(_blocks(root)):
        text = _text_of(block)
        texts.append(text)
        if _is_heading(block, text):
            headings.append(text)
    return Prose("\n\n".join(texts), shown, tuple(headings))


def _length(node: Any) -> int:
    return len(_SPACE.sub(" ", node.text(deep=True) or "").strip())


def _drop_furniture(root: Any, shown: int) -> None:
    """Decompose what is no prose, from the outside in; a part that holds most of the page stays, and is looked into."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        child = node.child
        while child is not None:
            following = child.next
            if (child.tag or "").startswith("-"):  # text and comments
                pass
            elif (
                ((_is_hidden(child) or _is_furniture(child)) and _length(child) <= _PAGE_SHARE * shown)
                or (child.tag == "table" and _is_data(child))
                or (child.tag == "pre" and _is_code(child))
                or (child.tag == "sup" and _NOTE_MARK.fullmatch((child.text() or "").strip()))
            ):
                child.decompose()
            else:
                waiting.append(child)
            child = following


def _is_hidden(node: Any) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or attributes.get("aria-hidden") == "true" or bool(_HIDDEN.search(attributes.get("style") or ""))


def _is_furniture(node: Any) -> bool:
    attributes = node.attributes
    if node.tag in _FURNITURE or (attributes.get("role") or "").lower() in _ROLES:
        return True
    named = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return node.tag not in ("body", "main", "article") and bool(named.strip()) and _FURNITURE_NAME.search(named) is not None


def _is_data(table: Any) -> bool:
    """A table of figures rather than one that lays out a page: short cells, several in a row."""
    cells = [cell for cell in table.css("td, th") if cell.css_first("table") is None]
    if len(cells) < 2:
        return False
    lengths = sorted(len((cell.text() or "").split()) for cell in cells)
    if lengths[-1] > 4 * _CELL_WORDS:
        return False  # a paragraph stands in it
    rows = max(1, len(table.css("tr")))
    return len(cells) > rows and lengths[len(lengths) // 2] <= _CELL_WORDS


def _is_code(node: Any) -> bool:
    """Old pages and mail archives set whole texts in <pre>."""
    from timbre.words import count_words, letter_share

    text = node.text() or ""
    return node.css_first("code") is not None or count_words(text) < 5 or letter_share(text) < 0.85


def _blocks(root: Any) -> Iterator[_Block]:
    """The blocks of a tree in order, without recursion: pages of old hold thousands of unclosed elements inside each other."""
    block = _Block()
    stack: list[tuple[Any, bool]] = [(root, False)]
    links = homes = plains = headers = captions = within = 0
    levels: list[int] = []
    while stack:
        node, leaving = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            text = node.text_content or ""
            block.parts.append(text if plains else _SPACE.sub(" ", text))
            block.linked += len(text.strip()) if links else 0
            block.home += len(text.strip()) if homes else 0
            continue
        if tag == "br":
            block.parts.append("\n")
            continue
        if tag.startswith("-") or tag == "img":
            continue
        step = -1 if leaving else 1
        href = node.attributes.get("href") if tag == "a" else None
        links += step * bool(href)
        homes += step * (href is not None and _HOME.fullmatch(href) is not None)
        plains += step * (tag == "pre")
        headers += step * (tag == "header")
        captions += step * (tag == "caption")
        within += step * (tag in ("article", "main"))
        if tag in _HEADINGS:
            levels = levels[:-1] if leaving else [*levels, _HEADINGS[tag]]
        if tag == "q":
            block.parts.append("”" if leaving else "“")
        if tag in _BLOCKS:
            yield block
            level = levels[-1] if levels else 0
            block = _Block(level=level, plain=plains > 0, header=headers > 0, caption=captions > 0, within=within > 0)
        if not leaving:
            stack.append((node, True))
            stack += [(child, False) for child in reversed(_children(node))]
    yield block


def _children(node: Any) -> list[Any]:
    found, child = [], node.child
    while child is not None:
        found.append(child)
        child = child.next
    return found


def _text_of(block: _Block) -> str:
    """A block's text: runs of spaces are one, two line breaks divide paragraphs."""
    text = "".join(block.parts)
    if block.plain:
        return text.strip("\n")
    lines = [_SPACE.sub(" ", line).strip() for line in text.split("\n")]
    if block.level and _is_heading(block, joined := " ".join(filter(None, lines))):
        return joined
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()


def _kept(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Blocks of prose, and the headings above them.

    A heading waits for what stands under it: what is dropped (a row of links) takes it along, unless it is the page's own, and so
    does a heading as high or higher, unless it is the first. A page of headings only gives them.
    """
    waiting: list[_Block] = []
    first, empty = True, True
    for block in blocks:
        text = _text_of(block)
        if not text:
            continue
        if _is_heading(block, text):
            if not _is_shown(block, text):
                continue
            waiting = [before for before in waiting if before.level < block.level or (first and before is waiting[0])] + [block]
        elif _is_prose(block, text):
            yield from waiting
            yield block
            waiting, first, empty = [], False, False
        else:
            waiting, empty = [before for before in waiting if before.level == 1], False
    if empty:
        yield from waiting


def _is_heading(block: _Block, text: str) -> bool:
    """A heading element, unless that holds a paragraph set in large letters."""
    return block.level > 0 and not (len(text.split()) >= _HEADING_WORDS and _SENTENCE.search(text))


def _is_shown(block: _Block, text: str) -> bool:
    """Whether a heading is of the text: not the site's name that leads to its beginning, nor one of a header above the article."""
    return block.home < _LINKED * len(text.replace(" ", "")) and (not block.header or block.within or block.level == 1)


def _is_prose(block: _Block, text: str) -> bool:
    """Not a row of links nor a caption; of a header, only what is long enough to be a paragraph."""
    words = len(text.split())
    long = words > _HEADING_WORDS and _SENTENCE.search(text) is not None
    if (block.caption or block.header) and not long:
        return False
    return block.linked < _LINKED * len(text.replace(" ", "")) or long
