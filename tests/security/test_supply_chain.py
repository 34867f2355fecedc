"""What Timbre is made of is written down whole, and what is unsafe in it is seen."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import audit, materials
from timbre.settings import PROJECT_ROOT

LOCK = (PROJECT_ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dict(json.loads(materials.document(LOCK)))


def test_every_locked_package_stands_in_the_bill_of_materials_with_its_hashes(document: dict[str, Any]) -> None:
    found = {f"{part['name']}=={part['version']}": {each["content"] for each in part["hashes"]} for part in document["components"]}
    wanted = re.findall(r"^([\w.-]+==[^ \\;]+)", LOCK, re.MULTILINE)
    assert set(found) == set(wanted) and len(wanted) > 200
    assert set().union(*found.values()) == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK))


def test_it_tells_what_the_road_brings_from_what_only_tests_need(document: dict[str, Any]) -> None:
    scope = {part["name"]: part["scope"] for part in document["components"]}
    assert {scope[name] for name in ("torch", "pydantic", "pypdf", "mlflow")} == {"required"}
    assert {scope[name] for name in ("pytest", "bandit", "mkdocs")} == {"optional"}
    own = next(each["dependsOn"] for each in document["dependencies"] if each["ref"] == "timbre")
    assert any(name.startswith("pydantic==") for name in own)


def test_the_same_lock_gives_the_same_document_without_a_time(document: dict[str, Any]) -> None:
    assert json.loads(materials.document(LOCK)) == document
    assert "serialNumber" not in document and "timestamp" not in document["metadata"]


def _answer(*vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": [{"name": "left", "version": "1.0", "vulns": list(vulnerabilities)}]}


def test_a_known_vulnerability_fails_the_check_and_names_the_release_that_mends_it() -> None:
    said, code = audit.told(_answer({"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": ["CVE-1"]}))
    assert code == 1 and "left 1.0: PYSEC-1, mended in 1.1" in said
    said, code = audit.told(_answer({"id": "PYSEC-2", "fix_versions": []}))
    assert code == 1 and "no release yet" in said


def test_what_was_accepted_with_a_reason_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.ACCEPTED, "CVE-1", "we never call it")
    assert audit.told(_answer({"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": ["CVE-1"]}))[1] == 0


@pytest.mark.parametrize("answer", [None, {"dependencies": []}, {"dependencies": [{"name": "left", "skip_reason": "not found"}]}])
def test_an_index_that_does_not_answer_is_said_and_is_no_failure(answer: dict[str, Any] | None) -> None:
    said, code = audit.told(answer)
    assert code == 0 and said.startswith("Not audited")


def test_unsafe_calls_are_seen_and_the_tree_has_none(tmp_path: Path) -> None:
    bandit = [str(Path(sys.executable).with_name("bandit")), "--quiet", "--severity-level", "medium", "--configfile", "pyproject.toml"]
    unsafe = tmp_path / "unsafe.py"
    unsafe.write_text("import pickle, subprocess\nsubprocess.run('ls ' + input(), shell=True)\npickle.load(open('x', 'rb'))\n")
    seen = subprocess.run([*bandit, str(unsafe)], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert seen.returncode == 1 and "B602" in seen.stdout and "B301" in seen.stdout
    rooms = ["timbre/registry", "timbre/serving", "tasks/stores", "cli"]
    assert subprocess.run([*bandit, "--recursive", *rooms], cwd=PROJECT_ROOT, capture_output=True, check=False).returncode == 0


def test_no_model_is_fetched_and_no_code_of_its_folder_is_run() -> None:
    """What the bandit remarks `nosec B615` say: every `from_pretrained` of transformers reads a folder here, and only that."""
    calls = 0
    for path in sorted((PROJECT_ROOT / "timbre").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        dicts = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and re.fullmatch(r"Auto\w+\.from_pretrained", ast.unparse(node.func))):
                continue
            given = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg and isinstance(word.value, ast.Constant)}
            for word in node.keywords:
                if word.arg is None and isinstance(word.value, ast.Name):
                    shared = dicts[word.value.id]
                    given |= {
                        str(ast.literal_eval(key)): ast.literal_eval(value)
                        for key, value in zip(shared.keys, shared.values, strict=True)
                        if key is not None and isinstance(value, ast.Constant)
                    }
            calls += 1
            assert given.get("local_files_only") is True, f"{path}:{node.lineno}"
            assert not given.get("trust_remote_code", False), f"{path}:{node.lineno}"
    assert calls >= 6
