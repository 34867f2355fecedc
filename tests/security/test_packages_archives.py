"""Hostile archives and wrong hashes: what a registry or a URL hands over is not trusted."""

import functools
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from timbre.artifacts import IntegrityError, sha256_file
from timbre.packages import fetch, unpack


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            data = b"text" if member.isfile() else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\\..\\out.txt", "C:/out.txt"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_name_that_climbs_out_is_refused_and_writes_nothing(tmp_path: Path, name: str, kind: str) -> None:
    archive = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr(name, "text")
    else:
        tar_with(archive, member(name))
    with pytest.raises(IntegrityError, match="leads out"):
        unpack(archive, tmp_path / "home")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_with(tmp_path / "evil.tar.gz", member("a/link.txt", kind, "/etc/passwd"))
    with pytest.raises(IntegrityError, match="only regular files"):
        unpack(archive, tmp_path / "home")
    assert not (tmp_path / "home" / "a" / "link.txt").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    info = zipfile.ZipInfo("link.txt")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr(info, "/etc/passwd")
    with pytest.raises(IntegrityError, match="only regular files"):
        unpack(archive, tmp_path / "home")


def test_an_archive_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("zeros.txt", b"0" * 1_000_000)
    with pytest.raises(IntegrityError, match="more than 1000 bytes"):
        unpack(archive, tmp_path / "home", max_bytes=1000)
    assert not (tmp_path / "home" / "zeros.txt").exists()


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "twice.tar.gz", member("a.txt"), member("a.txt"))
    with pytest.raises(IntegrityError, match="twice"):
        unpack(archive, tmp_path / "home")


def test_a_truncated_archive_is_damaged_not_a_crash(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "whole.tar.gz", member("a.txt"), member("b.txt"))
    short = tmp_path / "short.zip"
    short.write_bytes(archive.read_bytes()[:40])
    with pytest.raises((IntegrityError, ValueError)):
        unpack(short, tmp_path / "home")


def test_only_wanted_members_are_written(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "package.tar.gz", member("p/docs/a.txt"), member("p/code.py"), member("p/link", tarfile.SYMTYPE, "a"))
    written = unpack(archive, tmp_path / "home", ["*/docs/*.txt"])
    assert [path.relative_to(tmp_path / "home").as_posix() for path in written] == ["p/docs/a.txt"]


def test_a_debian_package_is_unpacked(tmp_path: Path) -> None:
    data = tar_with(tmp_path / "data.tar.gz", member("./usr/share/doc/a.txt")).read_bytes()
    header = lambda name, size: f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode()  # noqa: E731
    control = b"2.0\n"
    archive = tmp_path / "package.deb"
    archive.write_bytes(
        b"!<arch>\n" + header("debian-binary", len(control)) + control + header("data.tar.gz", len(data)) + data + b"\n" * (len(data) % 2)
    )
    assert unpack(archive, tmp_path / "home", ["usr/*"])[0].read_bytes() == b"text"


def test_a_wrong_hash_is_refused_and_names_both(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("Call me.")
    wrong = "0" * 64
    with pytest.raises(IntegrityError, match=wrong) as caught:
        fetch("url", book.as_uri(), "", wrong, tmp_path / "downloads")
    assert sha256_file(book) in str(caught.value)
    assert not [path for path in (tmp_path / "downloads").rglob("*") if path.name == "book.txt"]


def test_a_package_whose_hash_pip_refuses_is_an_integrity_error_that_names_source_expected_and_found(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbre.corpus.loading import fetch_source
    from timbre.corpus.sources import Source

    wheel, wrong = tmp_path / "tinytexts-1.0-py3-none-any.whl", "0" * 64
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr("tinytexts-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinytexts\nVersion: 1.0\n")
        package.writestr("tinytexts-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr("tinytexts-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    entry = {"name": "mine", "kind": "pypi", "description": "x", "licence": "CC0-1.0", "consent": "own", "author": "me"}
    source = Source.model_validate({**entry, "package": "tinytexts", "version": "1.0", "sha256": wrong})
    with pytest.raises(IntegrityError, match=f"source 'mine'.*expected sha256 {wrong}, received {sha256_file(wheel)}"):
        fetch_source(source)
    kept = [path for path in (home / "downloads").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert kept == []
    right = source.model_copy(update={"sha256": sha256_file(wheel)})
    assert fetch_source(right) == home / "downloads" / right.sha256 / wheel.name


def test_a_download_that_npm_itself_finds_damaged_is_an_integrity_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\necho 'npm error sha512-abc integrity checksum failed' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(IntegrityError, match=r"npm some-package 1\.0\.0: expected sha256 0000"):
        fetch("npm", "some-package", "1.0.0", "0" * 64, tmp_path / "downloads")


def test_a_fetched_file_is_not_fetched_again_and_a_damaged_one_is(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("Call me.")
    sha256 = sha256_file(book)
    fetched = fetch("url", book.as_uri(), "", sha256, tmp_path / "downloads")
    assert fetched == tmp_path / "downloads" / sha256 / "book.txt"
    fetched.write_text("damaged")
    assert fetch("url", book.as_uri(), "", sha256, tmp_path / "downloads").read_text() == "Call me."
    book.unlink()
    assert fetch("url", book.as_uri(), "", sha256, tmp_path / "downloads").read_text() == "Call me."


def test_an_interrupted_transfer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("Call me Ishmael.")
    sha256 = sha256_file(book)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{sha256}.partial").write_text("Call me")
    assert fetch("url", book.as_uri(), "", sha256, tmp_path / "downloads").read_text() == "Call me Ishmael."


class Web(SimpleHTTPRequestHandler):
    """A server that knows no ranges and, where a name says so, is out of order."""

    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(503)
        elif "cut" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"Call me")
        else:
            super().do_GET()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "book.txt").write_text("Call me Ishmael.")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Web, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["broken.txt", "cut.txt", "missing.txt"])
def test_a_server_that_fails_is_a_sentence_and_no_bug(name: str, web: str, tmp_path: Path) -> None:
    from timbre.cli.errors import explain

    with pytest.raises(ValueError, match="could not be read") as caught:
        fetch("url", f"{web}/{name}", "", "0" * 64, tmp_path / "downloads")
    sentence, code = explain(caught.value)
    assert code == 2 and f"{web}/{name} is not in downloads" in sentence


def test_a_server_without_ranges_sends_an_interrupted_file_again(web: str, tmp_path: Path) -> None:
    sha256 = sha256_file(tmp_path / "web" / "book.txt")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{sha256}.partial").write_text("Call")
    assert fetch("url", f"{web}/book.txt", "", sha256, tmp_path / "downloads").read_text() == "Call me Ishmael."


def test_a_missing_client_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="npm is not installed"):
        fetch("npm", "some-package", "1.0.0", "0" * 64, tmp_path / "downloads")


def test_an_unreachable_url_says_to_set_up_online(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make setup"):
        fetch("url", (tmp_path / "nothing.txt").as_uri(), "", "0" * 64, tmp_path / "downloads")
