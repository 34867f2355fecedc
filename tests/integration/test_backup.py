"""Everything but the backup destroyed, then restored elsewhere: the same champion writes the same text."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

pytestmark = pytest.mark.road


def test_a_restored_home_serves_the_same_champion(walked: "tuple[Checkout, dict[str, object]]", tmp_path: Path) -> None:
    place, _ = walked
    words = ("--style", "tiny", "--model", str(place.model))
    before = place.json("generate", "It was", *words, "--tokens", "12")
    assert place.timbre("backup", str(tmp_path / "saved.tar")).returncode == 0
    restored = dataclasses.replace(place, home=tmp_path / "elsewhere")
    done = restored.timbre("restore", str(tmp_path / "saved.tar"))
    assert done.returncode == 0, done.stderr
    again = restored.json("generate", "It was", *words, "--tokens", "12")
    assert [again[name] for name in ("version", "bundle", "text")] == [before[name] for name in ("version", "bundle", "text")]
    assert restored.json("status")["models"][0]["champion"] == place.json("status")["models"][0]["champion"]
    assert restored.json("doctor")["damaged"] == []
