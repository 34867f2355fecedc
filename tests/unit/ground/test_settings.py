"""Where things are: absolute, and without secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from timbre.settings import PROJECT_ROOT, Settings


def test_a_relative_home_and_a_tilde_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(home=Path("here")).home == tmp_path / "here"
    assert Settings(home=Path("~/there")).home == tmp_path / "there"


@pytest.mark.parametrize("field", ["data_registry", "data_remote", "artifact_store"])
def test_a_url_with_a_password_is_refused_without_repeating_it(field: str) -> None:
    with pytest.raises(ValidationError, match="password"):
        Settings.model_validate({field: "https://user:opensesame@example.org/data.git"})
    assert Settings.model_validate({field: "https://user@example.org/data.git"})


def test_a_project_around_the_working_folder_is_in_force_and_the_environment_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("TIMBRE_ROOT", "TIMBRE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert (Settings().root, Settings().home) == (PROJECT_ROOT, PROJECT_ROOT / ".timbre"), "outside of any: the checkout that runs"
    (tmp_path / "project" / "mlflow" / "policies").mkdir(parents=True)
    (tmp_path / "project" / "params.yaml").touch()
    monkeypatch.chdir(tmp_path / "project" / "mlflow")
    assert (Settings().root, Settings().home) == (tmp_path / "project", tmp_path / "project" / ".timbre")
    monkeypatch.setenv("TIMBRE_ROOT", str(tmp_path / "other"))
    assert Settings().root == tmp_path / "other"


def test_a_file_that_a_project_lacks_is_read_as_it_ships(tmp_path: Path) -> None:
    own = tmp_path / "data" / "styles" / "literary.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    here = Settings(root=tmp_path)
    assert here.file("data/styles/literary.toml") == own
    assert here.file("data/probes/bias.jsonl").read_bytes() == (PROJECT_ROOT / "data" / "probes" / "bias.jsonl").read_bytes()
    assert here.file("data/nothing.toml") == tmp_path / "data" / "nothing.toml"
    assert here.files("data/styles")["literary"] == own and set(here.files("data/styles")) > {"oratory", "technical"}
