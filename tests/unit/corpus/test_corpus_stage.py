"""One's own text in, a corpus out: adding, building, refusing."""

import json
import re
import sys
import warnings
from pathlib import Path

import pytest

from tests.building import add_source, prose
from timbre.artifacts import ArtifactStore, IntegrityError
from timbre.config import CorpusConfig
from timbre.corpus import adding, office
from timbre.corpus.adding import Request, add
from timbre.corpus.changes import Changes
from timbre.corpus.contract import check_contract, load_contract, suite_digest
from timbre.corpus.curation import curate
from timbre.corpus.datasheet import counts
from timbre.corpus.documents import Document, read_documents, write_rows
from timbre.corpus.raw import RawDocument
from timbre.corpus.sifting import Sifted
from timbre.corpus.sources import Source, find_source, find_style, source_paths, style_paths
from timbre.corpus.stage import STAGE, build_corpus, corpus_inputs
from timbre.progress import SILENT
from timbre.settings import settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(14):
        (texts / f"story{number:02d}.txt").write_text(prose(number))
    return texts


def test_own_text_becomes_a_corpus_twice_the_same(home: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "copy.txt").write_text(prose(0))
    (folder / "short.md").write_text("Too few words.")
    (folder / "german.txt").write_text("Das ist ein deutscher Text über das Meer und die alten Männer, die dort wohnen. " * 8)
    add_source(folder, "tales", "Ann Author", "CC-BY-4.0")
    config = CorpusConfig(style="tales")
    corpus = build_corpus(config, ArtifactStore(home, SILENT))
    tally = corpus.json("counts.json")
    assert tally["read"] == 17 == tally["kept"] + sum(tally["rejected"].values())
    assert {reason: count for reason, count in tally["rejected"].items() if count} == {"duplicate": 1, "language": 1, "too_short": 1}
    documents = read_documents(corpus)
    assert len(documents) == 14 and {document.licence for document in documents} == {"CC-BY-4.0"}
    assert {document.fold for document in read_documents(corpus, "train")} == {0, 1}
    assert {document.fold for document in read_documents(corpus, "test")} == {-1}
    assert corpus.json("contract.json")["success"]
    assert '<h1 class="container-fluid">Corpus of the style tales</h1>' in corpus.file("data_docs/index.html").read_text()
    assert corpus.json("datasheet.json")["authors"] == [{"author": "Ann Author", "share": 1.0, "tokens": tally_tokens(documents)}]
    again = ArtifactStore(tmp_path / "elsewhere", SILENT).build(STAGE, config, corpus_inputs(config))
    assert again.digest == corpus.digest
    outside = re.compile(r"<(?:link|script|img)\b[^>]*(?:src|href)\s*=\s*[\"']?(?:https?:)?//|@import|url\(\s*[\"']?http", re.IGNORECASE)
    shown = {path.name: path.read_text() for path in (corpus.path / "data_docs").rglob("*.html")}
    assert len(shown) >= 3 and [name for name, page in shown.items() if outside.search(page)] == []
    assert all("<style>" in page and "</html>" in page for page in shown.values())
    assert "values must never be null" in shown["corpus.html"]
    links = re.findall(r'<td><a href="([^"]+)">', shown["index.html"])
    assert {link.split("/")[0] for link in links} == {"validations", "expectations"}
    assert all((corpus.path / "data_docs" / link).is_file() for link in links)
    pages = [path for path in corpus.path.rglob("*") if path.suffix in (".html", ".json")]
    assert len(pages) >= 5 and not [path for path in pages if str(tmp_path) in path.read_text()]


def tally_tokens(documents: list[Document]) -> int:
    return sum(document.n_tokens for document in documents)


def test_the_key_needs_neither_great_expectations_nor_a_download(home: Path) -> None:
    import subprocess

    code = (
        "import sys; from timbre.corpus.stage import *; from timbre.config import CorpusConfig as C;"
        "STAGE.key(C(), corpus_inputs(C()));"
        "print([m for m in ('torch', 'great_expectations', 'pandas', 'transformers', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    assert not (home / "downloads").exists()


def test_every_shipped_style_and_source_is_well_formed(home: Path) -> None:
    assert {"literary", "oratory", "conversational", "technical", "academic", "journalism"} <= set(style_paths())
    for name in style_paths():
        for source in find_style(name)[1].sources:
            assert find_source(source)[1].licence
    assert find_source("brown-learned")[1].research_only and not find_source("moby-dick")[1].research_only


def test_an_unknown_style_or_source_lists_the_known_ones(home: Path) -> None:
    with pytest.raises(ValueError, match="literary"):
        corpus_inputs(CorpusConfig(style="gothic"))
    with pytest.raises(ValueError, match="moby-dick"):
        corpus_inputs(CorpusConfig(sources=("dracula",)))


def nothing_registered(home: Path) -> bool:
    return not list((home / "sources").glob("*")) and not list((home / "styles").glob("*")) if home.exists() else True


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("binary.txt", b"\x7fELF\x00\x01", r"binary: not a text file (NUL at byte 4)"),
        ("rows.jsonl", b'{"text": "a"}\nnot json\n', "rows:2: not JSON"),
        ("rows.jsonl", b'{"heading": "a"}\n', "rows:1: no text in column 'text'"),
        ("table.parquet", b"PAR1 no", "table: not a readable Parquet file"),
    ],
)
def test_a_bad_file_is_named_with_its_reason_and_refuses_nothing(home: Path, folder: Path, name: str, data: bytes, said: str) -> None:
    (folder / name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = add(Request(folder, "tales", "Ann", "MIT")).summary
    [bad] = summary.rejected_samples["unreadable"]
    assert f"{bad.name}: {bad.why}".startswith(said) and summary.kept == 14
    tally = build_corpus(CorpusConfig(style="tales"), ArtifactStore(home, SILENT)).json("counts.json")
    assert tally["rejected"]["unreadable"] == 1 and tally["kept"] == 14


def test_where_nothing_can_be_read_nothing_is_registered(home: Path, tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\x00\x01")
    with pytest.raises(ValueError, match=r"binary: not a text file \(NUL at byte 4\)"):
        add_source(tmp_path / "binary.txt", "tales", "Ann", "MIT")
    assert nothing_registered(home)


def test_a_missing_reader_is_named_before_anything_is_stored(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(office.PACKAGES, "rtf", ("no_such_module", "striprtf"))
    (folder / "letter.rtf").write_bytes(b"{\\rtf1 Dear friend.}")
    with pytest.raises(ValueError, match=r"letter\.rtf: reading \.rtf files needs the package striprtf: .*timbre\[documents\]"):
        add_source(folder, "tales", "Ann", "MIT")
    assert nothing_registered(home)


def test_missing_things_are_asked_for(home: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n")
    for path, style, author, licence, said in [
        (folder, "tales", "Ann", " ", "licence is missing"),
        (folder, "tales", "", "MIT", "author is missing"),
        (tmp_path / "none", "tales", "Ann", "MIT", "no such file or folder"),
        (tmp_path / "empty", "tales", "Ann", "MIT", "holds no file"),
        (tmp_path / "blank.txt", "tales", "Ann", "MIT", "no text"),
        (folder, "literary", "Ann", "MIT", "ships with Timbre"),
        (folder, "../x", "Ann", "MIT", "small letters"),
    ]:
        with pytest.raises(ValueError, match=said):
            add_source(path, style, author, licence)
    assert nothing_registered(home)


def test_two_files_of_one_name_and_different_endings_are_two_documents(home: Path, folder: Path) -> None:
    (folder / "story00.md").write_text(prose(77))
    add_source(folder, "tales", "Ann", "MIT")
    documents = read_documents(build_corpus(CorpusConfig(style="tales"), ArtifactStore(home, SILENT)))
    assert {"tales-texts:story00.md", "tales-texts:story00.txt"} <= {document.doc_id for document in documents}


def test_adding_twice_is_once_and_an_edited_folder_updates_its_source(home: Path, folder: Path) -> None:
    first = add_source(folder, "tales", "Ann", "MIT")
    assert add_source(folder, "tales", "Ann", "MIT") == first
    assert find_style("tales")[1].sources == ("tales-texts",)
    (folder / "new.txt").write_text(prose(99))
    assert add(Request(folder, "tales", "Ann", "MIT")).changes == Changes(new=1, changed=0, gone=0, unchanged=14)
    assert len(find_source("tales-texts")[1].files) == 15
    add_source(folder, "tales", "Ann", "MIT", name="more")
    assert find_style("tales")[1].sources == ("tales-texts", "more")
    assert set(source_paths()) >= {"tales-texts", "more"}


def test_other_texts_under_the_same_name_replace_nothing(home: Path, folder: Path, tmp_path: Path) -> None:
    add_source(folder, "tales", "Ann", "MIT")
    other = tmp_path / "elsewhere" / "texts"
    other.mkdir(parents=True)
    (other / "another.txt").write_text(prose(500))
    with pytest.raises(ValueError, match=r"holds other texts; choose another with `--name`"):
        add_source(other, "tales", "Ann", "MIT")
    assert len(find_source("tales-texts")[1].files) == 14


def test_one_source_added_twice_at_once_is_one(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require, looked = adding._require_text, []

    def slowly(sifted: Sifted) -> None:
        """While the first one reads, the second one adds the same."""
        require(sifted)
        if not looked:
            looked.append(True)
            add_source(folder, "tales", "Ann", "MIT")

    monkeypatch.setattr(adding, "_require_text", slowly)
    assert add_source(folder, "tales", "Ann", "MIT") == home / "sources" / "tales-texts" / "source.toml"
    assert find_style("tales")[1].sources == ("tales-texts",)


def test_a_source_outlives_its_originals_and_notices_damage(home: Path, folder: Path) -> None:
    entry = add_source(folder, "tales", "Ann", "MIT")
    for path in folder.iterdir():
        path.unlink()
    copy = next((entry.parent / "files").iterdir())
    copy.write_text("changed")
    with pytest.raises(IntegrityError, match="Add it again"):
        build_corpus(CorpusConfig(style="tales"), ArtifactStore(home, SILENT))


SOURCE = Source(name="s", kind="url", package="x", sha256="0" * 64, description="d", licence="MIT", consent="yes", author="Ann")


def curated(texts: list[str], **options: object) -> dict[str, object]:
    raw = {"s": [RawDocument(f"d{place}.txt", text, "Ann") for place, text in enumerate(texts)]}
    return counts(curate(raw, {"s": SOURCE}, CorpusConfig(**options), split_by_date=False))  # type: ignore[arg-type]


def test_one_long_document_is_cut_into_sections_and_says_so() -> None:
    text = "\n\n".join(prose(number, 20) for number in range(20))
    with pytest.warns(UserWarning, match=r"cut into \d+ sections"):
        tally = curated([text])
    assert tally["cut_into_sections"] is True and tally["read"] == tally["kept"]


def test_too_little_text_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="no document is left"):
        curated([])
    with pytest.raises(ValueError, match=r"no document is left .*1 empty"):
        curated(["..."])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="too few to split"):
            curated([prose(1)])


def test_what_is_not_drawn_is_kept_with_its_reason() -> None:
    tally = curated([prose(number) for number in range(20)], max_documents=12)
    assert tally["kept"] == 12 and tally["rejected"]["not_drawn"] == 8  # type: ignore[index]


def test_a_broken_contract_names_the_expectation_and_a_row(tmp_path: Path) -> None:
    rows = [
        Document(f"d{place}", f"Text number {place}.", "Ann", None, "s", "MIT", "yes", "t", split, fold, 4)
        for place, (split, fold) in enumerate([("train", 0), ("train", 1), ("validation", -1), ("test", -1)])
    ]
    contract = settings().root / "data" / "contract" / "corpus.toml"
    bad = [*rows, Document("d9", "Write to ann@example.org.", "Ann", "18th", "s", "MIT", "yes", "t", "train", 1, 4)]
    write_rows(bad, Document, tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=r"expect_column_values_to_(not_)?match_regex on (date|text) .*(18th|ann@example)"):
        check_contract(tmp_path / "bad.parquet", contract, tmp_path / "docs")
    write_rows([], Document, tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="no rows"):
        check_contract(tmp_path / "none.parquet", contract, tmp_path / "docs")


def test_an_empty_contract_is_refused_and_order_is_not_identity(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ValueError, match="at least one"):
        load_contract(tmp_path / "empty.toml")
    expected = load_contract(settings().root / "data" / "contract" / "corpus.toml")
    assert suite_digest(expected) == suite_digest(expected[::-1]) != suite_digest(expected[1:])


def test_jsonl_rows_carry_author_and_date(home: Path, tmp_path: Path) -> None:
    rows = [{"text": prose(number), "author": f"Writer {number % 6}", "date": f"20{number:02d}-01-01"} for number in range(18)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    add_source(tmp_path / "rows.jsonl", "tales", "Unknown", "MIT")
    corpus = build_corpus(CorpusConfig(style="tales"), ArtifactStore(home, SILENT))
    split_of: dict[str, set[str]] = {}
    for document in read_documents(corpus):
        split_of.setdefault(document.author, set()).add(document.split)
        assert document.date is not None and document.date.startswith("20")
    assert corpus.json("counts.json")["split_rule"] == "author" and all(len(splits) == 1 for splits in split_of.values())
