"""What nobody would bring on purpose: each gives its text or one sentence with its name, and refuses nothing else."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from tests.intake.case import Case, prose, result_of
from timbre.corpus import shelf
from timbre.corpus.adding import Added, Request, add
from timbre.corpus.finding import skipped_endings

_TEXT = "\n\n".join(prose(400))


def _added(folder: Path, home: Path, **reading: str) -> Added:
    return add(Request(folder, "odd", "Anna Lind", "own work", reading=reading), home=home)


def _reasons(home: Path) -> dict[str, str]:
    return {row.name.partition(":")[2]: row.detail for row in shelf.show("odd", home)[1] if row.reason}


def test_what_is_no_file_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "folder.txt").mkdir(parents=True)
    (folder / "folder.txt" / "inner.txt").write_text(_TEXT, encoding="utf-8")
    (folder / "line\nend.txt").write_text("\n\n".join(prose(401)), encoding="utf-8")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.txt").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe.txt")
    (folder / "empty.txt").touch()
    (folder / "nul.txt").write_bytes(b"\0" * 3000)
    (folder / "pages.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text(_TEXT, encoding="utf-8")
    found = _added(folder, tmp_path / "home").summary
    assert (found.read, found.kept, found.rejected) == (8, 2, {"unreadable": 5, "empty": 1})
    assert _reasons(tmp_path / "home") == {
        "nowhere": "a link to a file that is not there", "pipe": "a pipe, a socket or a device, not a file",
        "empty": "no words after cleaning",
        "nul": "not a text file (NUL at byte 0); remove it, or give it the ending of its format",
        "pages": "an archive: unpack it, and add the folder", "caf\\xe9": "its name is not valid UTF-8: rename it",
    }  # fmt: skip
    assert skipped_endings(folder) == {}


def test_a_pipe_alone_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(ValueError, match=r"pipe\.txt: a pipe, a socket or a device, not a file"):
        _added(tmp_path / "pipe.txt", tmp_path / "home")


def test_rows_that_no_program_should_write_do_not_refuse_the_others() -> None:
    rows = [json.dumps({"text": _TEXT}), '{"text": "Call me Ishmael, said the man of the sea.", "n": ' + "9" * 5000 + "}", "{broken"]
    found = result_of(Case("rows", "numbers", {"a.jsonl": "\n".join([*rows, "[" * 3000]).encode()}))
    assert len(found.texts) == 2 and found.rejected == {"unreadable": 2}
    deep = result_of(Case("rows", "deep", {"a.json": ("[" * 3000 + "]" * 3000).encode(), "b.txt": _TEXT.encode()}))
    assert len(deep.texts) == 1 and deep.rejected == {"unreadable": 1}


def test_a_quotation_of_a_tweet_is_left_out_of_tweets_only() -> None:
    said = "RT @anna is how her letters began, all of them, for as long as the post was slow."
    tweets = json.dumps([{"tweet": {"full_text": said}}, {"tweet": {"full_text": "The sea was calm today and nobody asked me why."}}])
    assert len(result_of(Case("posts", "a table", {"a.jsonl": json.dumps({"text": said}).encode()})).texts) == 1
    found = result_of(Case("posts", "an archive", {"tweets.js": f"window.YTD.tweets.part0 = {tweets}".encode()}))
    assert len(found.texts) == 1 and found.rejected == {"unreadable": 1}


def test_composed_letters_are_counted_as_they_are_kept_and_stretched_words_close() -> None:
    import unicodedata

    korean = "바다는 고요했고 아무도 왜냐고 묻지 않았다. 등대지기는 겨울마다 갈매기에게 소설을 읽어 주었다. " * 5
    found = result_of(Case("scripts", "Korean", {"a.txt": unicodedata.normalize("NFD", korean).encode()}))
    assert found.notes == [] and found.texts == [korean.strip()]
    arabic = "قال الرجـــل إنّ البحـر هادئ في سنة 1445هـ ولم يسأل أحد عن السبب."
    assert result_of(Case("scripts", "Arabic", {"a.txt": arabic.encode()})).texts == [arabic.replace("ـــ", "").replace("حـر", "حر")]


def test_a_page_named_doc_is_read_and_a_printed_page_number_is_no_text(tmp_path: Path) -> None:
    page, other = (f"<html xmlns:o='x'><body><p>{text}</p></body></html>".encode() for text in (_TEXT, "\n\n".join(prose(403))))
    assert len(result_of(Case("kinds", "html", {"a.doc": page, "b.docx": other})).texts) == 2
    chapter = f'<html><body><p>{_TEXT}</p><span epub:type="pagebreak" title="14">14</span><p>It sank.</p></body></html>'
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("a.xhtml", chapter)
    assert result_of(Case("kinds", "epub", {"a.epub": (tmp_path / "a.epub").read_bytes()})).texts[0].endswith("\n\nIt sank.")


def test_days_of_a_channel_give_the_words_of_one_person_only(tmp_path: Path) -> None:
    """Whoever writes alone on a day need not be who is meant, and most messages name nobody but by an id."""
    folder = tmp_path / "export"
    (folder / "general").mkdir(parents=True)
    members = [{"id": "U1", "name": "anna", "profile": {"real_name": "Anna Lind"}}, {"id": "U2", "name": "berta"}]
    (folder / "users.json").write_text(json.dumps(members), encoding="utf-8")
    (folder / "channels.json").write_text(json.dumps([{"id": "C1", "name": "general", "members": ["U1"]}]), encoding="utf-8")
    for day, who in ((1, ("U1", "U2")), (2, ("U1",)), (3, ("U2",))):
        rows = [
            {"type": "message", "user": each, "ts": f"{1614600000 + 86400 * day + number}.0", "text": text if each == "U1" else "Berta."}
            for number, text in enumerate(prose(500 + day, 9)) for each in who
        ]  # fmt: skip
        (folder / "general" / f"2021-03-0{day}.json").write_text(json.dumps(rows), encoding="utf-8")
    home = tmp_path / "home"
    for reading in ({}, {"role": "anna"}):
        found = _added(folder, home, **reading)
        kept = [row for row in shelf.show("odd", home)[1] if not row.reason]
        assert found.source.role == "U1" and found.summary.kept == len(kept) == 2
        assert found.lists == ("channels.json", "users.json")
        assert [sample.name for sample in found.summary.rejected_samples["unreadable"]] == ["2021-03-03"], "a day on which she says nothing"
        assert len(found.source.files) == 3
        assert "Berta." not in " ".join(sample.begins for sample in found.summary.kept_samples)
    (folder / "users.json").unlink()
    nobody = add(Request(folder / "general" / "2021-03-01.json", "day", "Anna Lind", "own work", reading={"role": "U1"}), home=home)
    assert nobody.summary.kept == 1
    with pytest.raises(ValueError, match=r"this is one day of a chat; its writers, with their messages: U2 \(3\)"):
        add(Request(folder / "general" / "2021-03-03.json", "day3", "Anna Lind", "own work"), home=home)


def test_lists_that_an_export_lays_beside_its_texts_are_no_rejected_rows(tmp_path: Path) -> None:
    said = [{"message": {"author": {"role": "assistant"}, "content": {"parts": [_TEXT]}}, "parent": None}]
    chat = [{"title": "Sea", "mapping": {"a": said[0]}, "current_node": "a"}]
    programs = {
        "chatgpt": {"conversations.json": chat, "user.json": {"id": "u", "email": "a@b.example"}, "message_feedback.json": []},
        "claude": {
            "conversations.json": [{"uuid": "1", "name": "Sea", "chat_messages": [{"sender": "assistant", "text": _TEXT}]}],
            "users.json": [{"uuid": "2", "full_name": "Anna Lind"}],
            "projects.json": [{"uuid": "3", "description": "None of these words."}],
        },
        "discord": {
            "messages/c1/channel.json": {"id": "1", "type": 0}, "messages/index.json": {"1": "general"}, "account/user.json": {"id": "7"},
            "messages/c1/messages.json": [{"ID": 1, "Timestamp": "2021-03-01 12:00:00", "Contents": _TEXT, "Attachments": ""}],
        },
    }  # fmt: skip
    for program, files in programs.items():
        for name, value in files.items():
            (tmp_path / program / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / program / name).write_text(json.dumps(value), encoding="utf-8")
        found = add(Request(tmp_path / program, program, "me", "own work"), home=tmp_path / "home")
        assert set(found.lists) == set(files) - {"conversations.json", "messages/c1/messages.json"}, program
        assert (found.summary.read, found.summary.kept) == (1, 1), (program, found.summary)
    (tmp_path / "own" / "x").mkdir(parents=True)
    (tmp_path / "own" / "users.json").write_text(json.dumps([{"id": 1, "text": _TEXT}]), encoding="utf-8")
    (tmp_path / "own" / "x" / "projects.json").write_text(json.dumps([{"text": "\n\n".join(prose(403))}]), encoding="utf-8")
    assert add(Request(tmp_path / "own", "own-lists", "me", "own work"), home=tmp_path / "home").summary.kept == 2


def test_a_list_that_breaks_off_and_a_text_of_two_encodings_are_read_as_far_as_they_can_be() -> None:
    cut = json.dumps([{"text": _TEXT}, {"text": "\n\n".join(prose(402))}])[:-40]
    found = result_of(Case("rows", "cut off", {"a.json": cut.encode()}))
    assert len(found.texts) == 1 and found.rejected == {"unreadable": 1}
    joined = (_TEXT + " Café, naïve.").encode("utf-8") + "\n\nThe façade of the château, and a “quotation”.".encode("cp1252")
    (text,) = result_of(Case("encodings", "two in one", {"a.txt": joined})).texts
    assert text.endswith("Café, naïve.\n\nThe façade of the château, and a “quotation”.")
    stray = result_of(Case("encodings", "a stray NUL", {"a.csv": f'text\n"{_TEXT}\0"\n"{" ".join(prose(402))}"\n'.encode()}))
    assert len(stray.texts) == 2 and "\0" not in "".join(stray.texts)
