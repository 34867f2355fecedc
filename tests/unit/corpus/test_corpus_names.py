"""File names as people give them, and what is said where every text is in another language."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.building import add_source, prose
from timbre.artifacts import ArtifactStore
from timbre.config import CorpusConfig
from timbre.corpus.curation import curate
from timbre.corpus.documents import read_documents
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.sifting import _namer
from timbre.corpus.sources import Source
from timbre.corpus.spool import Spool
from timbre.corpus.stage import build_corpus
from timbre.progress import SILENT

SOURCE = Source(name="s", kind="url", package="x", sha256="0" * 64, description="d", licence="MIT", consent="yes", author="Ann")


def short_names(names: list[str]) -> list[str]:
    """As a source's documents are called."""
    spool = Spool()
    for name in names:
        spool.put_raw("made", Unread(name, "not read"))
    named = _namer("made", spool)
    return [named(name) for name in names]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["#1.txt", "b.txt"], ["#1", "b"]),
        ([":a.txt", "#.md"], [":a", "#"]),
        (["a:1.txt", "a:2.txt", "a#3.txt"], ["a:1", "a:2", "a#3"]),
        (["no #1/x.txt", "no #1/y.txt"], ["x", "y"]),
        (["#1.txt", "#1.md"], ["#1.txt", "#1.md"]),
        (["d/book.txt#1", "d/book.txt#2"], ["book#1", "book#2"]),
        (["d/rows.jsonl:7", "d/rows.jsonl:8#2"], ["rows:7", "rows:8#2"]),
        (["d/rows.jsonl:7.gz", "d/book.txt#2.gz", "d/plain.txt.gz"], ["rows:7.gz", "book#2.gz", "plain.txt"]),
        (["train:00000001", "train:00000002"], ["train:00000001", "train:00000002"]),
    ],
)
def test_marks_in_a_file_name_are_no_rows_or_chapters(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


@given(st.lists(st.from_regex(r"(?:[a#:1 .]{1,4}/)?[a#:1 ]{1,6}\.(?:txt|md)(?:\.gz)?", fullmatch=True), min_size=1, unique=True))
def test_every_file_has_a_name_of_its_own(names: list[str]) -> None:
    distinct = list({Path(name).as_posix(): name for name in names}.values())
    short = short_names(distinct)
    assert len(set(short)) == len(distinct) and all(short)


def test_texts_named_by_number_are_added_and_built(home: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(12):
        (texts / f"#{number}.txt").write_text(prose(number))
    (texts / ":last.txt").write_text(prose(99))
    add_source(texts, "tales", "Ann", "CC0-1.0")
    documents = read_documents(build_corpus(CorpusConfig(style="tales"), ArtifactStore(home, SILENT)))
    assert {document.doc_id for document in documents} == {f"tales-texts:#{number}" for number in range(12)} | {"tales-texts::last"}


GERMAN = "Das ist ein deutscher Text über das Meer und die alten Männer, die dort seit vielen Jahren wohnen. " * 8


def _refused(*texts: str, **options: object) -> str:
    raw = {"s": [RawDocument(f"d{place}.txt", text, "Ann") for place, text in enumerate(texts)]}
    with pytest.raises(ValueError, match="no document is left") as refused:
        curate(raw, {"s": SOURCE}, CorpusConfig(**options), split_by_date=False)  # type: ignore[arg-type]
    return str(refused.value)


def test_texts_in_another_language_are_advised_to_allow_it() -> None:
    said = _refused(GERMAN, GERMAN + "Ende.")
    assert said.endswith("""corpus.languages keeps en, and they are in de; to keep them: --set 'corpus.languages=["de"]'""")
    assert "min_words" not in said


def test_short_texts_among_those_in_another_language_are_advised_of_both() -> None:
    said = _refused(GERMAN, "Too few words.", languages=("fr",))
    assert "corpus.languages keeps fr" in said and said.endswith("; or add text, or lower corpus.min_words")
    assert "languages" not in _refused("Too few words.")
