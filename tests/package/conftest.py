"""One wheel for all tests of this folder."""

from pathlib import Path

import pytest

from tests.package.installed import Installed, build_wheel, install


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """With everything that the road needs."""
    return install(wheel, tmp_path_factory.mktemp("whole") / "venv", "run")


@pytest.fixture(scope="session")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Without any extra: texts are compared."""
    return install(wheel, tmp_path_factory.mktemp("base") / "venv")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody's own project: modules, folders and files that are called like Timbre's own."""
    folder = tmp_path / "theirs"
    for name in ("tasks.py", "cli.py", "flows.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f'raise RuntimeError("{name} of somebody else was imported")\n')
    (folder / "data" / "styles").mkdir(parents=True)
    (folder / "data" / "styles" / "literary.toml").write_text("not = 'a style'\n")
    (folder / "params.yaml").write_text("learning_rate: 1\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return folder
