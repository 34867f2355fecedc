"""Cleaning, privacy, mail, markup and tagged text: what a reader of the corpus sees."""

import time
from collections import Counter
from textwrap import fill

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.intake.case import prose
from timbre.corpus.cleaning import clean, is_heading, is_prose, sections, words
from timbre.corpus.hyphens import Words, hyphenated_words
from timbre.corpus.mail import read_mail, written_part
from timbre.corpus.markdown import read_markdown
from timbre.corpus.privacy import scrub
from timbre.corpus.rst import read_rst
from timbre.corpus.running_heads import without_running_heads
from timbre.corpus.tagged import detokenise
from timbre.corpus.web import read_html


def test_wrapped_lines_become_paragraphs_and_hyphens_close() -> None:
    text = "The ship went down to the sea in the morn-\ning, and nobody that stood upon the shore\nsaid a word about it to anyone.\n\nNext."
    assert clean(text) == (
        "The ship went down to the sea in the morning, and nobody that stood upon the shore said a word about it to anyone.\n\nNext."
    )


def test_emphasis_heading_controls_and_licence_go() -> None:
    book = "CHAPTER 1. Title.\n\nHe _would_ go\x07.\n\n* * *\n\nsnake_case_name"
    text = f"junk\n*** START OF THE BOOK ***\n{book}\n*** END OF THE BOOK ***\nmore"
    assert clean(text, r"CHAPTER \d+\.") == "He would go.\n\nsnake_case_name"


def test_verse_keeps_its_lines() -> None:
    verse = "The ribs and terrors in the whale,\nArched over me a dismal gloom,\nWhile all God's waves rolled by,"
    assert clean(verse) == verse


_PIECES = [
    "Bau¬\n", "Bau\u00ad\n", "teil ", "remem-\n", "bered ", "Well-\n", "Known ", "1914-\n", "18 ", "teil ........ 12\n",
    "Fog . . . . . . 3\n", "\n\n", "\f", "\u2028", "\u2010\n", "* * *\n", "\"Quote\" begins. ", "_so\n", "there_ ", "> ", "12\n",
    "THE HARBOUR\n", "昔々\n", "\ufdd0", "\ufdd1", "\ufdd2 ", "\ufdd3\n",
    "The ferry left late and nobody on the quay said a word about it. ",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_what_stands_for_hyphens_and_line_ends_meanwhile_never_stays(text: str) -> None:
    assert not set("\ufdd0\ufdd1\ufdd2\ufdd3") & set(clean(text))


@pytest.mark.parametrize("mark", ["-", "¬", "\u00ad", "\u2010"])
def test_an_entry_of_contents_over_two_lines_goes_whole_and_joins_nothing(mark: str) -> None:
    assert clean(f'some Bau{mark}\nteil ........ 12\n\n"Quote" begins here…') == '"Quote" begins here…'
    assert clean(f"some Bau{mark}\nteil ........ 12\nquote begins here.") == "quote begins here."


@given(st.text())
def test_cleaning_twice_changes_nothing_in_plain_lines(text: str) -> None:
    once = clean(text)
    assert "\0" not in once and "\r" not in once
    assert not once.startswith("\n") and not once.endswith("\n")


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12))
def test_sections_lose_no_word(sizes: list[int]) -> None:
    text = "\n\n".join(" ".join(f"w{place}" for place in range(size)) + "." for size in sizes)
    cut = sections(text)
    assert " ".join(cut).split() == text.split()
    assert max(map(words, cut)) <= 400 * 4


def test_tables_of_numbers_are_not_prose() -> None:
    assert is_prose("It was the best of times, it was the worst of times.")
    assert not is_prose("12 34 56 | 78 90 | --- 11 22")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe@example.org now", "email"),
        ("from 192.168.10.25 today", "ip"),
        ("call (415) 555-2671 today", "phone"),
        ("card 4111 1111 1111 1111 please", "card"),
        ("account GB82 WEST 1234 5698 7654 32 please", "iban"),
        ("see https://example.org/~jane/x?id=7 there", "url"),
    ],
)
def test_personal_data_becomes_a_counted_placeholder(text: str, kind: str) -> None:
    counts: Counter[str] = Counter()
    scrubbed = scrub(text, counts)
    assert f"<{kind.upper()}>" in scrubbed and counts == {kind: 1}
    assert scrubbed.split()[0] == text.split(maxsplit=1)[0]


@pytest.mark.parametrize("text", ["from 1861 to 1865, 12 345 men", "1111 1111 1111 1111", "see https://example.org/docs", "version 1.2.3"])
def test_years_sums_and_plain_links_stay(text: str) -> None:
    counts: Counter[str] = Counter()
    assert scrub(text, counts) == text and not counts


def test_names_are_replaced_where_capitalised() -> None:
    counts: Counter[str] = Counter()
    assert scrub("Yes, Robert Smith's bill and robert.", counts, {"Robert", "Smith"}) == "Yes, <NAME> bill and robert."


MAIL = b"""From jane@example.org  Mon Sep  2 12:30:45 2002
From: Jane Doe <jane@example.org>
To: "Bob Stone" <bob@example.org>
Subject: Re: bees
Date: Mon, 02 Sep 2002 17:42:52 +0100
Content-Type: text/plain

On Sun, Bob Stone wrote:
> I like bees.
> Do you?

I do, and I have kept some for years
in the garden behind the house.

Regards,
Jane

--
Jane Doe, beekeeper
"""


def test_a_mail_is_what_its_sender_wrote_and_names_nobody() -> None:
    mail = read_mail(MAIL, salt="x")
    assert mail.text == "I do, and I have kept some for years\nin the garden behind the house."
    assert mail.date == "2002-09-02"
    assert "jane" not in mail.author.lower() and mail.author.startswith("writer-")
    assert set(mail.names) >= {"Jane", "Doe", "Bob", "Stone"}
    assert read_mail(MAIL, salt="y").author != mail.author


def test_a_list_footer_and_a_patch_are_not_prose() -> None:
    body = "This fixes it for me, I hope.\n\ndiff -u a b\n+x\n\n_______________\nlist mailing list\nhttp://example.org"
    assert written_part(body) == "This fixes it for me, I hope."


def test_markup_gives_paragraphs_without_code() -> None:
    page = "<html><nav><p>menu</p></nav><body><h1>T</h1><p>One <b>two</b>.</p><pre>x=1</pre><ul><li>three</li></ul></body>"
    assert read_html(page).text == "T\n\nOne two.\n\nthree"
    assert read_html(page).headings == ("T",)
    prose, matter = read_markdown("---\ntitle: x\n---\n# Head\n\nOne *two*.\n\n```\ncode\n```\n\n- three\n")
    assert (prose.text, prose.headings, matter) == ("Head\n\nOne two.\n\nthree", ("Head",), {"title": "x"})
    rst = """
Title
=====

See :doc:`the guide </guide>` and :func:`~a.b.run`.

.. code-block:: python

    x = 1

.. note::

    Be *careful*.

.. toctree::
   :maxdepth: 2

   other
"""
    assert read_rst(rst).text == "Title\n\nSee the guide and run.\n\nBe careful."


def test_tagged_text_reads_as_prose() -> None:
    tagged = (
        "\n\tHead/nn-hl line/nn-hl\n\n\tHe/pps said/vbd ,/, ``/`` Go/vb !/. !/. ''/''\nThe/at (/( old/jj )/) man's/nn$ dog/nn ran/vbd ./.\n"
    )
    assert detokenise(tagged) == 'He said, "Go!" The (old) man\'s dog ran.'


def _typeset(paragraph: str, width: int, hyphen: str) -> str:
    """Lines filled to the margin, words cut where it falls."""
    lines, line = [], ""
    for word in paragraph.split():
        rest = word
        while line and len(line) + 1 + len(rest) > width:
            room = width - len(line) - 2
            if room >= 3 and len(rest) - room >= 3 and rest[:room].isalpha() and rest[room:].rstrip(",.").isalpha() and rest.islower():
                line, rest = f"{line} {rest[:room]}{hyphen}", rest[room:]
            lines.append(line)
            line = ""
        line = f"{line} {rest}".strip()
    return "\n".join([*lines, line])


@pytest.mark.parametrize("hyphen", ["-", "\u00ad", "¬", "\u2010"])
def test_a_cut_word_changes_no_paragraph(hyphen: str) -> None:
    """However narrow the margin and wherever a sentence ends: paragraphs are told by the lines as they stand."""
    for number in range(12):
        paragraphs = prose(number)
        known = Words(hyphenated_words(" ".join(paragraphs)))
        for width in (38, 46, 58, 66, 72):
            set_ = "\n\n".join(_typeset(paragraph, width, hyphen) for paragraph in paragraphs)
            assert clean(set_, known=known) == "\n\n".join(paragraphs), (number, width)
    mail = "We were to meet at the landing stage, as you had asked, but the pilot had re-\nturned. Then it rained."
    assert clean(mail.replace("-\n", hyphen + "\n"), known=Words(frozenset({"returned"}))).replace("\n", " ") == mail.replace("-\n", "")


def test_compounds_with_capitals_and_numbers_and_suspended_hyphens_survive_a_margin() -> None:
    text = (
        "Nobody had seen the Town-Ho since the mid-Atlantic gale of 1814-15, and the old Gay-Head harpooner asked for a two- or threefold "
        "share of what two men and three boys had earned; the anti-British feeling did the rest, said the Cape-Horner, and went below."
    )
    for width in range(36, 90):
        assert clean(fill(text, width, break_on_hyphens=True)) == text, width
    assert clean("But I thought-\nYou thought wrong.") == "But I thought-\nYou thought wrong."


def test_emphasis_over_a_line_end_loses_its_marks_too() -> None:
    text = "\n".join(
        ["He said that it was _by no means the", "first time_ that a keeper had asked for", "leave and been refused it, in writing."] * 3
    )
    assert "_" not in clean(text) and clean("snake_case and\nother_names of it") == "snake_case and\nother_names of it"


@pytest.mark.parametrize("behind", ["and/or write to me.", "his/her letters", "3.5 miles off", "1/2 a mile", "e.g. the harbour"])
def test_a_line_of_words_under_an_address_stays(behind: str) -> None:
    assert scrub(f"See https://example.org/~anna/\n{behind}", Counter()) == f"See <URL>\n{behind}"
    assert scrub("See https://example.org/~anna/\ndocs/index.html now", Counter()) == "See <URL> now"


def test_a_book_of_thousands_of_pages_is_read_in_a_time_that_its_length_gives() -> None:
    """Four times as many pages take four times as long, not sixteen; eight leaves room for a busy machine."""
    page = "\n".join(["the ferry left late and nobody on the quay said a word of it"] * 30)

    def seconds(pages: int) -> float:
        book = "\f".join([page] * pages)
        times = []
        for _ in range(3):
            begun = time.process_time()
            assert without_running_heads(book, is_heading).count("\f") == 0
            times.append(time.process_time() - begun)
        return min(times)

    assert seconds(4000) < 8 * seconds(1000)
