"""Licences, imprints and notices that other libraries and sellers than Project Gutenberg put around a book's text."""

import regex as re

_SEEN = re.compile(
    r"gutenberg|smashwords|standard ?ebooks|wikisource|google|archive\.org|internet archive|hathitrust|feedbooks|adelaide|faded ?page"
    r"|distributed proofreaders|digitized|all rights reserved|public domain|isbn|draft2digital|manybooks|librivox|munseys|gallica"
    r"|wattpad|creative commons",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    # Project Gutenberg of Australia, of Canada, Faded Page
    r"(?:a )?project gutenberg(?: of)? (?:australia|canada)\b|\*? ?a (?:project gutenberg (?:of )?(?:australia|canada)"
    r"|distributed proofreaders) "
    r"|project gutenberg(?: of)? (?:australia|canada) ebooks are|copyright laws are changing all over the world"
    r"|this (?:e-?book|e-?text|web edition) (?:is made available|was produced|was prepared|published) |to contact project gutenberg"
    r"|a treasure-trove of literature|this site is full of free ebooks|\[the end of .* by .*\]|(?:gutenberg"
    r"|faded page)[^\n]{0,40} e-?book #"
    r"|\*? ?a distributed proofreaders canada|this file should be named"
    # Smashwords and other sellers
    r"|(?:published (?:by|at) .{0,80}|.{0,60}\bat )?smashwords(?: edition)?(?:,? licen[cs]e notes?.*|\.?)$|smashwords edition\b"
    r"|(?:(?:smashwords|kindle|ebook|this) )?(?:edition,? )?licen[cs]e (?:notes?|statement)\b"
    r"|this e-?book is licensed for your (?:own )?personal"
    r"|thank you for (?:downloading|purchasing|buying|respecting|supporting)\b.*\b(?:e-?book|author|work|copy)|discover other titles by"
    r"|connect with (?:me|the author|us)\b|(?:all rights reserved|no part of this (?:publication|book|e-?book|work))\b"
    r"|(?:this (?:book|novel|story|is) )?(?:is )?a work of fiction\.? ?(?:any resemblance|names|all (?:the )?characters)"
    r"|this is a work of fiction\b.{0,40}names"
    r"|(?:copyright|©|\(c\))[ :]*(?:©|\(c\))?[ ]*(?:\d{4}|by\b)|isbn(?:-1[03])?[: ]|cover (?:design|art|image"
    r"|photograph)\w* (?:by|©|copyright)"
    r"|(?:first )?published (?:in|by) [^\n.]{0,60}(?:at smashwords|via draft2digital)"
    # Standard Ebooks
    r"|this e-?book is the product of many hours of hard work by volunteers|this particular e-?book is based on"
    r"|the (?:source text|writing) and artwork in this e-?book|standard e-?books is a volunteer|the volunteer-driven standard e-?books"
    r"|the cover (?:page|and title)[^\n]{0,60}(?:adapted from|feature)|may you do good and not evil|copyright pages exist to tell you"
    r"|non-authorship activities performed on|uncopyright$|.{0,200}transcribed and produced for standard e-?books"
    r"|.{0,300}(?:and on digital scans (?:available )?(?:from|at)|transcription (?:produced )?(?:by|from|for)).{0,200}"
    r"|the first edition of this e-?book was released|you can check for updates to this e-?book|you’re encouraged to"
    r"|produced by standard e-?books"
    # Wikisource
    r"|(?:exported|downloaded) from wikisource|about this digital edition|this e-?book (?:comes from|was generated (?:by"
    r"|from)) (?:the online library )?wikisource"
    r"|this multilingual digital library, built by volunteers|we distribute our books for free|wikisource is constantly looking"
    r"|during its realization, this book|the following users (?:have )?contributed|this work (?:is|was) in the public domain"
    r"|this (?:work|text) (?:may be|is) in the public domain|the (?:longest-living )?author (?:of this work )?died in \d{4}, so this work"
    r"|public domain ?public domain|this (?:is a translation|translation) .{0,80}(?:copyright|public domain)"
    r"|(?:this work|this text|the text) is (?:released|licensed|available) under|text is available under the creative commons"
    # scans
    r"|this is a digital copy of a book that was preserved|(?:it has survived long enough|marks, notations and other marginalia)"
    r"|usage guidelines$"
    r"|google(?: is proud|['’]s mission| book search)|we also ask that you|about google book search|\+ ?(?:make|refrain"
    r"|maintain|keep it) "
    r"|digiti[sz]ed by (?:the )?(?:internet archive|google|microsoft)|digiti[sz]ed by (?:the )?internet|generated (?:on|for"
    r"|at) .{0,80}hathi"
    r"|public domain(?: in the united states)?(?:, google-digitized| mark)|https?://(?:www\.)?(?:archive\.org|hathitrust"
    r"|books\.google|hdl\.handle\.net"
    r"|standardebooks|smashwords|feedbooks|gutenberg|fadedpage|en\.wikisource|ebooks\.adelaide)"
    r"|(?:this book is brought to you|also available on) .{0,10}feedbooks|strictly for personal use"
    r"|copyright: this work is available for countries"
    r"|this web edition published by|rendered into html|last updated .{0,40}\d{4}|to the best of our knowledge, the text of this"
    r"|ebooks@adelaide",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?:(?:title|author|editor|translator|illustrator|e-?book(?: no| #)?|edition|language|character set(?: encoding)?"
    r"|date(?: of)? (?:first|most) \w+"
    r"|release date|posting date|posted|last updated|credits|subject|publisher|published|isbn|licen[cs]e|source"
    r"|rights)\.? ?:.*(?:\n|\Z))+",
    re.IGNORECASE,
)
_OF_ANY_TEXT = re.compile(r"copyright|©|\(c\)|all rights|isbn|no part|last updated|this is", re.IGNORECASE)
"""What may stand alone in any text; it is a book's notice beside others."""
_RULE = re.compile(r"[-=_*~•· ]{3,}")
_TITLES = re.compile(
    r"(?:imprint|colophon|uncopyright|copyright|licen[cs]e|about this (?:digital )?edition|usage guidelines|legal notice)", re.IGNORECASE
)
_NEAR, _NEAR_CHARACTERS, _LONGEST, _CERTAIN = 40, 15_000, 2500, 2


def without_notices(text: str) -> str:
    """The text without such notices among its first and last paragraphs, and without the fields and rules next to them."""
    if _SEEN.search(text, 0, _NEAR_CHARACTERS) is None and _SEEN.search(text, max(0, len(text) - _NEAR_CHARACTERS)) is None:
        return text
    blocks = re.split(r"(\n[ \t]*\n)", text)
    real = [place for place in range(0, len(blocks), 2) if blocks[place].strip()]
    head = _near(blocks, real)
    tail = [place for place in _near(blocks, real[::-1]) if place not in set(head)]
    for places in (head, tail):
        gone = [place for place in places if _is_notice(blocks[place])]
        if not gone or (len(gone) == 1 and _OF_ANY_TEXT.match(blocks[gone[0]].strip()) is not None):
            continue
        low, high = min(gone), max(gone)
        for place in places:
            block = blocks[place].strip()
            beside = low - 6 <= place <= high + 6
            if place in gone or (beside and (_is_fields(block) or _RULE.fullmatch(block) or _TITLES.fullmatch(block))):
                blocks[place] = ""
    return "".join(blocks)


def _near(blocks: list[str], places: list[int]) -> list[int]:
    """The places of the first paragraphs, as far as notices reach; at most a third of a short text."""
    found: list[int] = []
    size = 0
    for place in places[:_NEAR]:
        size += len(blocks[place])
        if size > _NEAR_CHARACTERS:
            break
        found.append(place)
    return found


def _is_fields(block: str) -> bool:
    """Whether most lines are fields of a catalogue or notices."""
    lines = [line.strip() for line in block.split("\n") if line.strip()]
    fields = sum(_FIELD.fullmatch(line) is not None for line in lines)
    return fields > 0 and fields + sum(map(_is_notice, lines)) > 0.6 * len(lines)


def _is_notice(block: str) -> bool:
    plain = " ".join(block.split()).lstrip("*•-–—[(_ ").removeprefix("Note: ")
    return len(plain) <= _LONGEST and _NOTICE.match(plain) is not None
