"""Layout is told apart from writing: line ends, quotes and dashes are set alike before anything is measured."""

from textwrap import fill

from tests.intake.case import prose
from timbre.metrics.sheet import cleaned, differences, plainly, sheet_of
from timbre.metrics.texts import Text

_PLAIN = [
    Text("\n\n".join(f'"{paragraph}" she said -- and it\'s so...' for paragraph in prose(number)), f"d{number}") for number in range(8)
]
_CURLY = [Text(text.text.replace('"', "“").replace("'", "’").replace(" -- ", "—").replace("...", "…"), text.document) for text in _PLAIN]
_WRAPPED = [Text("\n\n".join(fill(paragraph, 72) for paragraph in text.text.split("\n\n")), text.document) for text in _PLAIN]


def test_the_same_words_wrapped_or_with_other_quotes_are_the_same_texts() -> None:
    wanted = [text.text for text in cleaned(_PLAIN)]
    assert [text.text for text in cleaned(_CURLY)] == wanted
    assert [text.text for text in cleaned(_WRAPPED)] == wanted


def test_what_is_set_differently_is_said() -> None:
    plain, curly, wrapped = map(sheet_of, (_PLAIN, _CURLY, _WRAPPED))
    assert differences(plain, plain) == []
    assert any(told.startswith("line wrap: the lines of these texts are cut") for told in differences(wrapped, plain))
    assert {told.partition(":")[0] for told in differences(curly, plain)} == {"quotes", "dashes"}


def test_hyphens_of_words_and_spans_of_years_stay() -> None:
    assert plainly("a well-known man, 1914–18") == "a well-known man, 1914–18"
