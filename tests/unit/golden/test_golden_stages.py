"""Every stage stores what it stored when its version was last raised: a changed artifact under an unchanged version fails here.

    make golden        records anew what is meant; the diff of tests/golden_records says what changed

Layout, fields, settings and what is read are compared everywhere. Values are compared everywhere for stages that run no model;
where floating-point sums decide, on machines that round as the one that recorded, with the same libraries: elsewhere these
tests say that they were skipped, and `make golden` adds a machine.
"""

import json
import os
import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from golden_walk import Left, platform, walk

from timbre.settings import PROJECT_ROOT

RECORDS = PROJECT_ROOT / "tests" / "golden_records"
RECORD = os.environ.get("TIMBRE_GOLDEN") == "record"
needs_genai = pytest.mark.skipif(find_spec("onnxruntime_genai") is None, reason="onnxruntime-genai-cuda is not installed (extra genai)")
COMMAND = "`make golden` records what is there now"
SAME_EVERYWHERE = ("model", "corpus", "prompts")
"""Stages of which no value comes from floating-point sums."""
STAGES = {
    name: path.relative_to(PROJECT_ROOT)
    for path in sorted((PROJECT_ROOT / "timbre").rglob("*.py"))
    for name in re.findall(r'^[A-Z]+: Stage\[\w+\] = Stage\("(\w+)"', path.read_text(), re.MULTILINE)
}


PARAMETERS = [pytest.param(name, marks=needs_genai) if name == "genai" else name for name in sorted(STAGES)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> dict[str, Left]:
    """What each step of a tiny release leaves here."""
    return walk(tmp_path_factory.mktemp("golden"), tiny_model_dir, tiny_corpus_texts)


def recorded(stage: str) -> dict[str, Any]:
    path = RECORDS / f"{stage}.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def record(stage: str, here: dict[str, Left]) -> None:
    """Write what the steps of a stage leave here; values of other machines are kept where nothing else changed."""
    steps = {name: asdict(left) for name, left in here.items() if left.stage == stage}
    version = next(iter(steps.values()))["version"]
    values = {name: left.pop("values") for name, left in steps.items()}
    before, new = recorded(stage), {"stage": stage, "version": version, "steps": json.loads(json.dumps(steps))}
    kept = before.get("values", []) if {name: before.get(name) for name in new} == new else []
    if stage in SAME_EVERYWHERE:
        new["values"] = [{"of": values}]
    else:
        new["values"] = [one for one in kept if one["platform"] != platform()] + [{"platform": platform(), "of": values}]
    RECORDS.mkdir(exist_ok=True)
    (RECORDS / f"{stage}.json").write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def layout_changes(stage: str, here: dict[str, Left]) -> dict[str, list[str]]:
    """Step -> files whose fields are not the recorded ones."""
    steps = recorded(stage).get("steps", {})
    found = {name: differing(steps.get(name, {}).get("layout", {}), left.layout) for name, left in here.items() if left.stage == stage}
    return {name: files for name, files in found.items() if files}


def value_changes(stage: str, here: dict[str, Left]) -> dict[str, list[str]] | None:
    """Step -> files whose values are not the recorded ones; None where none were recorded for such a machine."""
    of = next((one["of"] for one in recorded(stage).get("values", []) if one.get("platform", platform()) == platform()), None)
    if of is None:
        return None
    found = {name: differing(of.get(name, {}), left.values) for name, left in here.items() if left.stage == stage}
    return {name: files for name, files in found.items() if files}


def complaint(stage: str, here: dict[str, Left], changes: dict[str, list[str]]) -> str:
    """What to do about files that are not as recorded."""
    steps = recorded(stage)["steps"]
    for name in changes:
        left, old = here[name], steps.get(name)
        if left.version != recorded(stage)["version"]:
            return f"the stage {stage} is of version {left.version}, {recorded(stage)['version']} is recorded: {COMMAND}"
        if old is None:
            return f"{name} is a new step of the stage {stage}: {COMMAND}"
        if left.settings != old["settings"] or left.read != old["read"] or list(left.needs) != old["needs"]:
            return f"settings of {name}, or files that it reads, changed, and its key with them: {COMMAND}"
        for needed in left.needs:
            earlier = here[needed].stage
            if layout_changes(earlier, here) or value_changes(earlier, here):
                return f"{name} reads what the stage {earlier} stores, which is not as recorded: see there first; then {COMMAND}"
    files = ", ".join(f"{name}/{file}" for name, named in changes.items() for file in named)
    version = recorded(stage)["version"]
    return (
        f"the stage {stage} stores something else than its version {version} did ({files}): raise it to {version + 1} in "
        f"{STAGES[stage]}, so that no old artifact is taken for a new one; then {COMMAND}"
    )


@pytest.mark.parametrize("stage", PARAMETERS)
def test_a_stage_stores_the_fields_that_its_version_stands_for(stage: str, here: dict[str, Left]) -> None:
    mine = [left for left in here.values() if left.stage == stage]
    assert mine, f"the walk builds nothing of the stage {stage} ({STAGES[stage]}): add it to tests/golden_walk.py"
    if RECORD:
        record(stage, here)
    found = recorded(stage)
    assert found, f"the stage {stage} is not recorded: {COMMAND}"
    assert mine[0].version == found["version"], (
        f"the stage {stage} is of version {mine[0].version}, {found['version']} is recorded: {COMMAND}"
    )
    changes = layout_changes(stage, here)
    assert not changes, complaint(stage, here, changes)
    assert found["steps"].keys() == {name for name, left in here.items() if left.stage == stage}, COMMAND
    for name, old in found["steps"].items():
        now = json.loads(json.dumps(asdict(here[name])))
        changed = differing(
            {key: old[key] for key in ("settings", "read", "needs")}, {key: now[key] for key in ("settings", "read", "needs")}
        )
        assert not changed, f"{', '.join(changed)} of {name} changed, and its key with them: {COMMAND}"


@pytest.mark.parametrize("stage", PARAMETERS)
def test_a_stage_stores_the_values_that_its_version_stands_for(stage: str, here: dict[str, Left]) -> None:
    changes = value_changes(stage, here)
    if changes is None:
        known = "; ".join(str(one["platform"]) for one in recorded(stage)["values"])
        pytest.skip(f"values of {stage} are recorded for other machines or libraries ({known}), not for {platform()}: {COMMAND}")
    assert not changes, complaint(stage, here, changes)


def test_a_changed_file_under_an_unchanged_version_names_the_stage_to_raise(here: dict[str, Left]) -> None:
    """The complaints themselves: of what changed here, of what changed before it, and of what changes the key."""
    from dataclasses import replace

    def changed(name: str, **parts: Any) -> dict[str, Left]:
        return here | {name: replace(here[name], **parts)}

    corpus = changed("corpus", values=here["corpus"].values | {"documents.parquet": "other"})
    found = value_changes("corpus", corpus)
    assert found == {"corpus": ["documents.parquet"]}
    version = here["corpus"].version
    assert f"raise it to {version + 1} in timbre/corpus/stage.py" in complaint("corpus", corpus, found)
    both = corpus | {"prompts": replace(here["prompts"], values={})}
    assert "reads what the stage corpus stores" in complaint("prompts", both, value_changes("prompts", both) or {})
    other = changed("corpus", settings="other", layout={})
    assert "its key with them" in complaint("corpus", other, layout_changes("corpus", other))
