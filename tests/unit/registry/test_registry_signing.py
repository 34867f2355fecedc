"""Whoever trusts a key is served what it signed, and nothing else."""

import json
import stat
from pathlib import Path

import pytest

from timbre.artifacts import IntegrityError
from timbre.registry import signing

BUNDLE, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def key(tmp_path: Path) -> Path:
    signing.new_key(signing.key_file(tmp_path))
    return signing.key_file(tmp_path)


def public(key: Path) -> Path:
    return key.with_name("key.pub")


def test_what_was_signed_is_trusted_and_the_private_key_is_its_owners(tmp_path: Path, key: Path) -> None:
    signing.sign(tmp_path, BUNDLE, key)
    signing.check_signature(tmp_path, BUNDLE, public(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and b"PRIVATE" not in public(key).read_bytes()
    with pytest.raises(ValueError, match="there already"):
        signing.new_key(key)


def test_unsigned_altered_foreign_and_exchanged_signatures_are_refused(tmp_path: Path, key: Path) -> None:
    with pytest.raises(IntegrityError, match="not signed"):
        signing.check_signature(tmp_path, BUNDLE, public(key))
    path = signing.sign(tmp_path, BUNDLE, key)
    whole = json.loads(path.read_bytes())
    path.with_name(f"{OTHER}.json").write_text(json.dumps(whole | {"bundle": OTHER}))  # a good signature of another bundle
    with pytest.raises(IntegrityError, match="not a signature of this bundle"):
        signing.check_signature(tmp_path, OTHER, public(key))
    stranger = tmp_path / "stranger" / "key"
    signing.new_key(stranger)
    signing.sign(tmp_path, BUNDLE, stranger)
    with pytest.raises(IntegrityError, match="not a signature of this bundle by the key"):
        signing.check_signature(tmp_path, BUNDLE, public(key))
    signing.check_signature(tmp_path, BUNDLE, public(stranger))
    flipped = ("B" if whole["signature"][0] == "A" else "A") + whole["signature"][1:]
    for spoilt in (
        json.dumps(whole | {"signature": flipped}),
        json.dumps(whole | {"signature": 7}),
        json.dumps([]),
        "{",
        "",
        json.dumps(whole | {"signature": "é"}),
    ):
        path.write_text(spoilt)
        with pytest.raises(IntegrityError):
            signing.check_signature(tmp_path, BUNDLE, public(key))


def test_files_that_are_no_keys_are_refused_by_name(tmp_path: Path, key: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="no private key"):
        signing.sign(tmp_path, BUNDLE, tmp_path / "text")
    with pytest.raises(ValueError, match="no private key"):
        signing.sign(tmp_path, BUNDLE, tmp_path / "nowhere")
    for wrong in (tmp_path / "text", key, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="no public key"):
            signing.check_signature(tmp_path, BUNDLE, wrong)


def test_a_promotion_signs_where_there_is_a_key_and_only_there(tmp_path: Path, key: Path) -> None:
    signing.sign_promoted(tmp_path, BUNDLE)
    signing.check_signature(tmp_path, BUNDLE, public(key))
    signing.sign_promoted(tmp_path / "elsewhere", BUNDLE)
    assert not (tmp_path / "elsewhere").exists()
