"""Every library that is imported is declared, in the base or in the extra that `timbre.extras` names for it."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from timbre.extras import EXTRA_OF, MissingExtraError, lacking, require

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COME_ALONG = {"markupsafe": "jinja2", "onnx_ir": "onnxscript", "huggingface_hub": "transformers", "starlette": "fastapi"}
"""Modules that a declared package brings and that are imported as well."""


def _declared(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {"timbre"}


def _imported() -> dict[str, str]:
    """Every module of others that is imported, and a file that does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "timbre").rglob("*.py")) + [
        file for name in ("cli", "flows", "tasks") for file in (ROOT / name).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"timbre"}:
                found.setdefault(top, path.relative_to(ROOT).as_posix())
    return found


def test_every_import_is_declared_where_the_user_is_told_it_is() -> None:
    distributions = packages_distributions()
    base, extras = _declared(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    for module, where in _imported().items():
        packages = {canonicalize_name(name) for name in distributions.get(COME_ALONG.get(module, module), [module])}
        if module in EXTRA_OF:
            assert packages & _declared(extras[EXTRA_OF[module]]), f"{where} imports {module}, which is not in {EXTRA_OF[module]!r}"
            assert not packages & base, f"{module} is in the base already"
        else:
            assert packages & base, f"{where} imports {module}: declare it in the base, or name its extra in timbre/extras.py"


def test_the_whole_road_is_all_its_parts() -> None:
    assert PROJECT["optional-dependencies"]["run"][0] == "timbre[train,serve,data]"
    require("run", "this test")


def test_only_a_module_of_an_extra_is_explained() -> None:
    assert lacking(ModuleNotFoundError("x", name="mlflow.client")) == (
        "this needs the extra 'run' (mlflow is not installed): pip install 'timbre[run]'"
    )
    assert lacking(ModuleNotFoundError("x", name="timbre.nothing")) is None


def test_a_missing_part_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbre.extras.find_spec", lambda name: None if name == "peft" else object())
    require("serve", "`timbre serve`")
    with pytest.raises(
        MissingExtraError, match=r"`timbre run` needs the extra 'run' \(peft is not installed\): pip install 'timbre\[run\]'"
    ):
        require("run", "`timbre run`")
