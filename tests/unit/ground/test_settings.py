"""Where things are: absolute, and without secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from timbre.settings import Settings


def test_a_relative_home_and_a_tilde_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(home=Path("here")).home == tmp_path / "here"
    assert Settings(home=Path("~/there")).home == tmp_path / "there"


@pytest.mark.parametrize("field", ["data_registry", "data_remote"])
def test_a_url_with_a_password_is_refused_without_repeating_it(field: str) -> None:
    with pytest.raises(ValidationError, match="password"):
        Settings.model_validate({field: "https://user:opensesame@example.org/data.git"})
    assert Settings.model_validate({field: "https://user@example.org/data.git"})
