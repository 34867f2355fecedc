"""Layout is told apart from writing: line ends, quotes and dashes are set alike before anything is measured."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import fill, indent

import pytest

from tests.intake.case import prose
from timbre.corpus.cleaning import clean
from timbre.metrics.comparison import Request, compare_texts
from timbre.metrics.page import write_page
from timbre.metrics.sheet import cleaned, differences, plainly, reset, sheet_of
from timbre.metrics.texts import Text


def _written(number: int) -> str:
    """Prose with quotes, apostrophes, dashes, dots and compounds."""
    return "\n\n".join(
        f"\"{paragraph}\" she said -- and it's so... 'Well-known,' they called that half-open, old-fashioned house of 1914-18."
        for paragraph in prose(number)
    )


_PLAIN = [Text(_written(number), f"d{number}") for number in range(8)]


def _paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def _curly(text: str) -> str:
    text = re.sub(r'(^|[\s(])"', r"\1“", text, flags=re.MULTILINE).replace('"', "”")
    return re.sub(r"(^|[\s(])'", r"\1‘", text, flags=re.MULTILINE).replace("'", "’")


def _dashes(dash: str) -> Callable[[str], str]:
    return lambda text: text.replace(" -- ", dash)


def _wrapped(width: int, before: str = "", between: str = "\n\n") -> Callable[[str], str]:
    return lambda text: between.join(fill(paragraph, width, initial_indent=before) for paragraph in _paragraphs(text))


def _two_spaces(text: str) -> str:
    return re.sub(r"([.!?][\"']?) (?=\S)", r"\1  ", text)


LAYOUTS: dict[str, Callable[[str], str]] = {
    "wrapped at 60": _wrapped(60), "wrapped at 72": _wrapped(72), "wrapped at 90": _wrapped(90),
    "wrapped, indented": _wrapped(72, "    ", "\n"), "a block indented": lambda text: indent(_wrapped(66)(text), "    "),
    "indented": lambda text: "\n".join("    " + paragraph for paragraph in _paragraphs(text)),
    "with tabs": lambda text: "\n".join("\t" + paragraph for paragraph in _paragraphs(text)),
    "a paragraph a line": lambda text: "\n".join(_paragraphs(text)),
    "curly": _curly, "wrapped, curly": lambda text: _curly(_wrapped(72)(text)),
    "guillemets": lambda text: _curly(text).replace("“", "« ").replace("”", " »"),
    "German": lambda text: _curly(text).replace("”", "\0").replace("“", "„").replace("\0", "“"),
    "TeX": lambda text: _curly(text).replace("“", "``").replace("”", "''"),
    "single": lambda text: re.sub(r'"([^"\n]*)"', r"'\1'", text),
    "em": _dashes("—"), "em, spaced": _dashes(" — "), "en": _dashes(" – "), "en, closed": _dashes("–"), "hyphen": _dashes(" - "),
    "two hyphens": _dashes("--"), "wrapped behind a dash": lambda text: _wrapped(40)(text.replace(" -- ", "—").replace("—", "— ")),
    "CRLF": lambda text: _wrapped(72)(text).replace("\n", "\r\n"), "CR": lambda text: text.replace("\n", "\r"),
    "two spaces": _two_spaces, "two spaces, wrapped": lambda text: _wrapped(72)(_two_spaces(text)),
    "one character of dots": lambda text: text.replace("...", "…"), "dots apart": lambda text: text.replace("...", " . . ."),
    "spaces at line ends": lambda text: text.replace("\n", "  \n"), "no-break spaces": lambda text: text.replace(" --", "\u00a0--"),
    "a span with a dash": lambda text: text.replace("1914-18", "1914–18"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_words_in_another_layout_are_the_same_texts(layout: str) -> None:
    told = [Text(LAYOUTS[layout](text.text), text.document) for text in _PLAIN]
    assert [text.text for text in told] != [text.text for text in _PLAIN]
    assert [text.text for text in cleaned(told, _PLAIN)] == [text.text for text in cleaned(_PLAIN, told)]


@pytest.mark.parametrize("layout", ["wrapped at 72", "curly", "em"])
def test_a_folder_against_itself_in_another_layout_is_not_told_apart(layout: str, tmp_path: Path) -> None:
    """However few the texts: their words were compared."""
    for side in ("texts", "human"):
        (tmp_path / side).mkdir()
        for text in _PLAIN:
            written = LAYOUTS[layout](text.text) if side == "texts" else text.text
            (tmp_path / side / f"{text.document}.txt").write_text(written, encoding="utf-8")
    found = compare_texts(Request(tmp_path / "texts", tmp_path / "human", words=40))
    assert (found.verdict, found.reason) == ("not told apart", "same") and "differ only in how they are set" in found.why
    assert len(found.layout) == 1
    write_page(found, tmp_path / "page.html", ("texts", "human"))
    assert "The same texts stand on both sides, in another layout." in (tmp_path / "page.html").read_text()
    assert compare_texts(Request(tmp_path / "texts", tmp_path / "human", words=40, raw=True)).reason != "same"
    itself = compare_texts(Request(tmp_path / "human", tmp_path / "human", words=40))
    assert itself.verdict == "INCONCLUSIVE", "nothing differs, not even layout: a mistake rather than a question"


@pytest.mark.parametrize(
    ("own", "human", "same"),
    [
        ("They walkeddownto the harbour inthe rain.", "They walked down to the harbour in the rain.", False),
        ("They walked down to\nthe harbour in the\nrain.", "They walked down to the harbour in the rain.", True),
        ("The light- and sea-marks, he said.", "The light-\nand sea-marks, he said.", True),
        ("昔々、あるところに、\nおじいさんがいました。", "昔々、あるところに、おじいさんがいました。", True),
        ("从前有一个渔夫， 他住在海边。", "从前有一个渔夫，他住在海边。", True),
        ("She said 'no', and left.", 'She said "no", and left.', True),
    ],
)
def test_spaces_that_are_missing_are_writing_and_no_layout(own: str, human: str, same: bool) -> None:
    given = ([Text(own, "a")], [Text(human, "b")])
    assert reset(given, given) is same


def test_what_is_set_differently_is_said() -> None:
    def sheet(layout: str) -> list[str]:
        return differences(sheet_of([Text(LAYOUTS[layout](text.text), text.document) for text in _PLAIN]), plain)

    plain = sheet_of(_PLAIN)
    assert differences(plain, plain) == []
    assert sheet("wrapped at 72")[0].startswith("line wrap: the lines of these texts are cut") and len(sheet("CRLF")) == 1
    assert [told.partition(":")[0] for told in sheet("curly")] == ["quotes"]
    assert [told.partition(":")[0] for told in sheet("em")] == ["dashes"]


def test_hyphens_of_words_and_spans_of_years_stay() -> None:
    assert plainly("a well-known man, 1914–18") == "a well-known man, 1914–18"
    assert plainly("rock 'n' roll, the sailors' boots") == "rock 'n' roll, the sailors' boots"


@pytest.mark.parametrize(
    "text",
    [
        "\"'Tis the sailors' boats,\" he said, and told 'em so; that was in the '90s.",
        '"Come," he said. "The boys\' hats, \'twas they!"',
        "The \"well-known sailors\" came home, and the dogs' barking told 'em.",
        "\"We was goin' home,\" says he, \"an' o' course the girls' mother was.\"",
        "She wrote \"the sailors' boats\" twice, in the winter of '78, 'cause nobody asked.",
        "\"Rock 'n' roll,\" said Anna, \"isn't what it was in '56.\"",
        '"The men\'s and the boys\' coats hung there," she wrote.\n\n"Nobody took the ladies\' hats," he answered. "\'Twas too warm."',
        '"It is late," she began, "and the ladies\' maid"\u2014here she wept\u2014"is gone."',
    ],
)
def test_single_quotes_are_told_from_apostrophes(text: str) -> None:
    """The right value is the text as it is set with double quotes: apostrophes stay, and single quotes give the same."""
    assert plainly(text) == text
    assert plainly(text.replace('"', "'")) == text
    curly = _curly(re.sub(r"(?<=[\s\"\u2014])'(?=[a-z\d]|T)", "’", text))
    assert plainly(curly) == text and plainly(curly.replace("“", "‘").replace("”", "’")) == text


def test_line_ends_within_words_close_and_those_at_hyphens_stay() -> None:
    typeset = "The captain remem-\nbered his self-collec-\ntedness and remembered the collec-\ntion; no tedness of a collection."
    assert " ".join(clean(typeset).split()).startswith("The captain remembered his self-collectedness")
    wrapped = "A half-\nopen door, half and open, a roast-\npig. Well-\nknown, as well as known, by mast-\nheads."
    assert " ".join(clean(wrapped).split()) == "A half-open door, half and open, a roast-pig. Well-known, as well as known, by mast-heads."


def test_what_a_corpus_reads_is_read_for_a_comparison_too(tmp_path: Path) -> None:
    import gzip
    import json

    from timbre.metrics.texts import read_texts

    posts = [{"tweet": {"full_text": "The sea was calm today."}}, {"tweet": {"full_text": "RT @berta: not so calm"}}]
    (tmp_path / "tweets.js").write_text(f"window.YTD.tweets.part0 = {json.dumps(posts)}", encoding="utf-8")
    (tmp_path / "letter.txt.gz").write_bytes(gzip.compress(b"The ferry left late."))
    assert [text.text for text in read_texts(tmp_path)] == ["The ferry left late.", "The sea was calm today."]
