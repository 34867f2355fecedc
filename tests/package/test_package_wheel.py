"""The wheel in an environment without a checkout, typed at from a folder that holds modules of the same names."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.integration.conftest import SMALL
from tests.tiny_policy import TINY_POLICY
from timbre import __version__

if TYPE_CHECKING:
    from tests.package.installed import Installed

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_claims_one_global_name_and_carries_every_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {"timbre", f"timbre-{__version__}.dist-info"}
        for own in ("data", "mlflow/policies", "params.yaml", "dvc.yaml", "prefect.yaml"):
            files = [ROOT / own] if (ROOT / own).is_file() else [path for path in (ROOT / own).rglob("*") if path.is_file()]
            for path in files:
                assert archive.read(f"timbre/_data/{path.relative_to(ROOT).as_posix()}") == path.read_bytes()
    templates = [path for path in (ROOT / "timbre").glob("*/templates/*") if path.is_file()]
    assert len(templates) > 5 and {path.relative_to(ROOT).as_posix() for path in templates} <= set(names)
    code = [path for name in ("cli", "flows", "tasks") for path in (ROOT / name).rglob("*.py")]
    assert {f"timbre/{path.relative_to(ROOT).as_posix()}" for path in code} <= set(names)
    assert "timbre/py.typed" in names


def test_modules_of_the_same_name_beside_ones_data_change_nothing(whole: "Installed", foreign: Path) -> None:
    shown = whole.timbre("run", "--style", "literary", "--dry-run", "--json", cwd=foreign)
    assert shown.returncode == 0, shown.stderr
    assert [step["step"] for step in json.loads(shown.stdout)["steps"]][:3] == ["model", "decoder", "corpus"]
    texts = foreign / "letters"
    texts.mkdir()
    (texts / "one.txt").write_text("The harbour was quiet that morning, and nobody spoke of the storm again. " * 20)
    added = whole.timbre("corpus", "add", "letters", "--style", "letters", "--author", "A", "--licence", "own work", cwd=foreign)
    assert added.returncode == 0, added.stderr
    assert (foreign / ".timbre" / "styles" / "letters.toml").is_file(), "without a project, the home is .timbre of the working folder"
    module = whole.python("-m", "timbre.cli", "status", "--json", cwd=foreign)
    assert module.returncode == 0, module.stderr
    place = whole.python("-c", "import timbre.tasks.stages, timbre.cli; print(timbre.__file__)", cwd=foreign)
    assert Path(place.stdout.strip()).is_relative_to(whole.folder), place.stderr


def test_init_writes_configuration_and_no_code(whole: "Installed", tmp_path: Path) -> None:
    written = json.loads(whole.timbre("init", "project", "--json", cwd=tmp_path).stdout)["written"]
    project = tmp_path / "project"
    assert sorted(path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()) == written
    assert {Path(name).suffix for name in written} == {".yaml", ".toml", ""}
    assert {"params.yaml", "dvc.yaml", "prefect.yaml", "mlflow/policies/quick.toml", "data/sources/moby-dick.toml"} <= set(written)
    deployments = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    entrypoints = [deployment["entrypoint"].rpartition(".") for deployment in deployments]
    found = whole.python("-c", "; ".join(f"from {module} import {flow}" for module, _, flow in entrypoints), cwd=tmp_path)
    assert len(entrypoints) > 1 and found.returncode == 0, found.stderr
    (project / "params.yaml").write_text("mine: 1\n")
    again = json.loads(whole.timbre("init", "project", "--json", cwd=tmp_path).stdout)
    assert (again["written"], (project / "params.yaml").read_text()) == ([], "mine: 1\n"), "what somebody changed stays"


def test_a_project_overrides_what_ships_and_the_rest_is_read_as_it_ships(whole: "Installed", tmp_path: Path) -> None:
    whole.timbre("init", "project", cwd=tmp_path)
    project = tmp_path / "project"
    (project / "mlflow" / "policies" / "mine.toml").write_text(TINY_POLICY.replace('"tiny"', '"mine"'))
    (project / "below").mkdir()
    code = (
        "from timbre.settings import PACKAGED, settings; s = settings(); "
        "print(s.root, s.home, s.file('data/probes/bias.jsonl').is_relative_to(PACKAGED), *s.files('mlflow/policies'))"
    )
    for folder in (project, project / "below"):
        said = whole.python("-c", code, cwd=folder).stdout.split()
        assert said == [str(project), str(project / ".timbre"), "True", "mine", "quick", "standard"]


@pytest.mark.slow
def test_from_the_wheel_alone_init_and_run_promote_a_model(
    whole: "Installed", foreign: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    texts = foreign / "texts.jsonl"
    texts.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in tiny_corpus_texts))
    assert whole.timbre("init", "project", cwd=foreign).returncode == 0
    project = foreign / "project"
    for name in ("tasks.py", "cli.py", "flows.py"):
        shutil.copy(foreign / name, project / name)
    (project / "mlflow" / "policies" / "tiny.toml").write_text(TINY_POLICY)
    added = whole.timbre("corpus", "add", "../texts.jsonl", "--style", "tiny", "--author", "various", "--licence", "CC0-1.0", cwd=project)
    assert added.returncode == 0, added.stderr
    options = [f"--set={name}={value}" for name, value in SMALL.items()]
    done = whole.timbre("run", "--style", "tiny", "--model", str(tiny_model_dir), "--json", *options, cwd=project, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout)
    assert (outcome["verdict"], outcome["champion"], outcome["promoted"]) == ("PASS", 1, True)
    said = whole.timbre("generate", "It was", "--style", "tiny", "--model", str(tiny_model_dir), "--tokens", "5", "--json", cwd=project)
    assert json.loads(said.stdout)["text"], said.stderr
    assert not list(foreign.glob(".timbre")), "everything is kept in the project"
