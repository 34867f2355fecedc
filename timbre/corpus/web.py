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
    "button", "select", "option", "textarea", "input", "rt", "rp", "map", "del",
})  # fmt: skip
_FURNITURE = frozenset({"nav", "footer", "aside", "figure", "figcaption", "address", "menu", "code-block", "dialog", "label", "legend"})
_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "menu", "menubar", "dialog", "alert", "toolbar"})
_FURNITURE_NAME = re.compile(
    r"(?:^|[\s_-])(?:nav(?:bar|igation|menu)?|menu|side-?bar|foot(?:er)?|site-?header|masthead|breadcrumbs?|cookies?|consent|gdpr|shar(?:e|ing)|social"
    r"|related|recommended|comments?|respond|disqus|subscribe|subscription|newsletter|signup|adverts?|advertisement|ads?|promo|sponsor|pagination"
    r"|pager|skip-?link|byline|post-?meta|entry-?meta|tag-?(?:list|cloud)|tags|toc|popup|modal|banner|copyright|printfooter|editsection|navbox"
    r"|catlinks|widget|reflist|references|refbegin|site-?notice|site-?sub|content-?sub|infobox|related-?posts|post-?profile|poster(?:-?info)?"
    r"|user-?info|message-user|signature|author-?(?:bio|box|card|info)|reading-?time|onetrust[\w-]*|didomi[\w-]*|jp-relatedposts)(?:$|[\s_-])",
    re.IGNORECASE,
)
_WITH_FURNITURE = re.compile(r"(?:^|(?<=\s))\S*(?:^|\s|[_-])(?:has|no|with(?:out)?|hide|is|in|beside)[_-]\S*", re.IGNORECASE)
"""Names that tell what stands beside a part (`has-sidebar`), not what it is."""
_UNSEEN_NAME = re.compile(
    r"(?:^|\s)(?:sr-only|screen-?reader(?:-?text)?|visually-?hidden|assistive-text|(?:x-ebookmaker-)?page-?(?:num|no|number)s?)(?:$|\s)",
    re.IGNORECASE,
)
"""What is only heard, and the numbers of a printed book's pages."""
_PAGE_NUMBER = 8
"""Characters of the longest number of a printed page that an e-book marks where the page began."""
_FURNITURE_TEXT = re.compile(
    r"(?:posted|published|written|filed|tagged|last (?:updated|modified|changed|edited)) (?:by|on|in|under|at)\b.*[^.!?…”\"]"
    r"|(?:posted|published|filed under|tags|labels|categor(?:y|ies)|share this|last (?:updated|modified)) ?:.*"
    r"|(?:copyright|©|\(c\)) .*|.*\ball rights reserved\b.*|you are visitor\b.*|share this\W*|best viewed (?:in|with)\b.*"
    r"|\d+ (?:min(?:ute)?s?\.? read|comments?|views?|likes?|shares?)|(?:previous|next) (?:message|post|page|chapter)\b[^.!?]*"
    r"|back to (?:the )?top|leave a (?:comment|reply)|skip to (?:main )?content|read more\W*|click here\b.{0,40}",
    re.IGNORECASE,
)
_FURNITURE_WORDS = 14
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
_BACK = re.compile(r"[\s\[(]*[↩↵⏎⤴↑⇑⇧⮐^△▲][\ufe0e\ufe0f]?[\s\])]*")
_TAG = re.compile(
    r"</?(?:p|br|div|h[1-6]|li|ul|ol|blockquote|article|section|table|tr|td|hr|center|font|span)\b[^<>]*>|</(?:em|strong|i|b|a|u|cite)>",
    re.IGNORECASE,
)
_DIVIDED = re.compile(r"<(?:html|body|p|br|div|td|li|pre)\b", re.IGNORECASE)
_BLANK = re.compile(r"\n[ \t\r]*\n")
_BEGINS = re.compile(r"\s*<(?:!doctype|!--|[a-z])", re.IGNORECASE)
_TAGS_EVERY = 1500
_BLOCK_STYLE = re.compile(r"display\s*:\s*(?:block|flex|grid|table|list-item)", re.IGNORECASE)
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark",
    "nobr", "q", "rb", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "br", "img",
})  # fmt: skip
_SENTENCE = re.compile(r"[.!?…。！？।؟»”\"')]\s*$")
_LINKED, _HEADING_WORDS, _CELL_WORDS, _PAGE_SHARE, _ARTICLE = 0.6, 25, 8, 0.5, 300


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
    if _DIVIDED.search(page) is None:
        page = _BLANK.sub("\n<p>", page)  # a piece whose program makes paragraphs of empty lines
    if "<frameset" in page.lower():
        page = _FRAMES.sub("", page)
    tree = LexborHTMLParser(page)
    root = tree.body or tree.root
    if root is None:
        return Prose("", 0)
    for element in root.css(",".join(sorted(_UNSEEN))):
        element.decompose()
    shown = _length(root)
    _drop_remarks(root)
    _drop_furniture(root, shown)
    texts, headings = [], []
    for block in _kept(_blocks(root)):
        text = _text_of(block)
        texts.append(text)
        if _is_heading(block, text):
            headings.append(text)
    return Prose("\n\n".join(texts), shown, tuple(headings))


def is_page(text: str) -> bool:
    """Whether a text is a web page or a piece of one: it begins with a tag, or has tags all over, of those that divide text."""
    tags = len(_TAG.findall(text, 0, 200_000))
    return tags > 1 and (_BEGINS.match(text) is not None or tags * _TAGS_EVERY > min(len(text), 200_000))


def _length(node: Any) -> int:
    return len(_SPACE.sub(" ", node.text(deep=True) or "").strip())


def _drop_remarks(root: Any) -> None:
    """Decompose comments that Google Docs exports below the text, and the marks of those and of notes."""
    for link in root.css('a[id^="cmnt"], a[id^="ftnt"]'):
        name = link.attributes.get("id") or ""
        box = link.parent
        while box is not None and box.tag not in ("div", "p", "body"):
            box = box.parent
        if name.startswith("cmnt") and not name.startswith("cmnt_ref") and box is not None and box.tag != "body":
            outer = box.parent if box.tag == "p" and box.parent is not None and box.parent.tag == "div" else box
            (outer if 3 * _length(outer) < _length(root) else box).decompose()
        else:
            link.decompose()


def _drop_furniture(root: Any, shown: int) -> None:
    """Decompose what is no prose, from the outside in; a part that holds most of the page stays, and is looked into."""
    for part in root.css("#comments, .comments, .comments-area, .comment-list, #disqus_thread, #respond"):
        if part.parent is not None and shown - _length(part) >= _ARTICLE and root.css_first("article, main, .entry-content, .post-body"):
            part.decompose()  # however many there are: others wrote them
    shown = _length(root)
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
                or _is_mark(child)
                or (child.tag == "sup" and _NOTE_MARK.fullmatch((child.text() or "").strip()))
            ):
                child.decompose()
            else:
                waiting.append(child)
            child = following


def _is_mark(node: Any) -> bool:
    """A mark that leads to a note of an e-book, or back from a note to where it is asked for."""
    if node.tag in ("a", "span") and (_BACK.fullmatch(node.text() or "") is not None):
        return True
    kind = f"{node.attributes.get('epub:type') or ''} {node.attributes.get('role') or ''}"
    return "noteref" in kind and _NOTE_MARK.fullmatch((node.text() or "").strip()) is not None


def _is_hidden(node: Any) -> bool:
    attributes = node.attributes
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(attributes.get("style") or ""))
        or (node.tag not in ("body", "main", "article") and _UNSEEN_NAME.search(attributes.get("class") or "") is not None)
        or ("pagebreak" in f"{attributes.get('epub:type')} {attributes.get('role')}" and len((node.text() or "").strip()) <= _PAGE_NUMBER)
    )


def _is_furniture(node: Any) -> bool:
    attributes = node.attributes
    if node.tag in ("figure", "label", "legend") and _holds_prose(node):
        return False
    if node.tag in _FURNITURE or (attributes.get("role") or "").lower() in _ROLES:
        return True
    named = _WITH_FURNITURE.sub("", f"{attributes.get('class') or ''} {attributes.get('id') or ''}")
    return node.tag not in ("body", "main", "article") and bool(named.strip()) and _FURNITURE_NAME.search(named) is not None


def _holds_prose(node: Any) -> bool:
    """Whether what is mostly a picture's or a field's frame holds a paragraph of its own: a quotation, a poem, a letter."""
    parts = node.css("blockquote, p, pre") if node.tag == "figure" else [node]
    texts = [(part.text() or "").strip() for part in parts if part.css_first("figcaption") is None and not _within(part, "figcaption")]
    return any(len(text.split()) > _HEADING_WORDS and _SENTENCE.search(text) for text in texts)


def _within(node: Any, tag: str) -> bool:
    while (node := node.parent) is not None:
        if node.tag == tag:
            return True
    return False


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
            block.parts.append("\u2028" if node.attributes.get("class") == "verse" else "\n")
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
        if tag in _BLOCKS or _shown_as_block(node, tag):
            yield block
            level = levels[-1] if levels else 0
            block = _Block(level=level, plain=plains > 0, header=headers > 0, caption=captions > 0, within=within > 0)
        if not leaving:
            stack.append((node, True))
            stack += [(child, False) for child in reversed(_children(node))]
    yield block


def _shown_as_block(node: Any, tag: str) -> bool:
    """Whether a style or, of an element that HTML does not know, a sentence within says so."""
    if tag in _INLINE:
        return _BLOCK_STYLE.search(node.attributes.get("style") or "") is not None
    return len((text := (node.text() or "").strip()).split()) >= _CELL_WORDS and _SENTENCE.search(text) is not None


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
    lines = [line for line in lines if not _is_furniture_line(line)]
    if block.level and _is_heading(block, joined := " ".join(filter(None, lines))):
        return joined
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()


def _is_furniture_line(line: str) -> bool:
    return 0 < len(line.split()) <= _FURNITURE_WORDS and _FURNITURE_TEXT.fullmatch(line) is not None


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
