"""Two clones of one shared registry, with real git; and processes that outlive whoever started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.settings import PROJECT_ROOT, Settings
from timbre.tasks.stages import load_yaml, write_parameters
from timbre.tasks.stores import sharing
from timbre.tasks.stores.dvc import DataRegistry
from timbre.tasks.stores.git import Git
from timbre.tasks.stores.processes import end_leftovers, run_group
from timbre.tasks.stores.rebasing import merge_values
from timbre.tasks.stores.registry_init import found
from timbre.tasks.stores.sharing import fetch, share
from timbre.tasks.stores.versions import Version, add_version, mark_pushed, pending, read_versions


@pytest.fixture
def origin(tmp_path: Path) -> str:
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git")], check=True)
    return (tmp_path / "origin.git").as_uri()


def clone(origin: str, home: Path) -> Git:
    given = Settings(home=home, data_registry=origin, data_remote=str(home.parent / "remote"))
    home.mkdir()
    found(given.registry_path, given)
    git = Git(given.registry_path)
    fetch(git)
    return git


def build(git: Git, style: str, seed: int) -> Version | None:
    """What a build leaves, without DVC: parameters, lock, commit, tag."""
    for name, top, key in (("params.yaml", "styles", style), ("dvc.lock", "stages", f"corpus@{style}")):
        path = git.path / name
        tree = load_yaml(path.read_text()) if path.exists() else {top: {}}
        tree[top][key] = {"seed": seed}
        write_parameters(path, tree)
    ignore = git.path / "corpus" / ".gitignore"
    ignore.parent.mkdir(exist_ok=True)
    lines = ignore.read_text().splitlines() if ignore.exists() else []
    ignore.write_text("".join(f"{line}\n" for line in dict.fromkeys([*lines, f"/{style}"])))
    git("add", "params.yaml", "dvc.lock", "corpus/.gitignore")
    git("commit", "--quiet", "-m", f"{style} {seed}")
    return add_version(git, "corpus", style, digest(seed))


def digest(seed: int) -> str:
    return f"{seed:064x}"


def publish(git: Git) -> None:
    share(git)
    mark_pushed(git, pending(git))


def tags(git: Git) -> dict[str, str]:
    return {version.tag: version.digest for version in read_versions(git)}


def test_the_slower_of_two_builders_is_rebased_and_renumbered(origin: str, tmp_path: Path) -> None:
    first = clone(origin, tmp_path / "first")
    build(first, "oratory", 1)
    publish(first)
    second = clone(origin, tmp_path / "second")
    assert not pending(second)

    build(first, "literary", 10)
    build(second, "literary", 20)
    build(second, "technical", 30)
    publish(first)
    publish(second)
    fetch(first)

    assert tags(first) == tags(second) == {
        "corpus/literary/v1": digest(10), "corpus/literary/v2": digest(20),
        "corpus/oratory/v1": digest(1), "corpus/technical/v1": digest(30),
    }  # fmt: skip
    assert not pending(first) and not pending(second)
    styles = load_yaml((first.path / "params.yaml").read_text())["styles"]
    assert styles == {"oratory": {"seed": 1}, "literary": {"seed": 20}, "technical": {"seed": 30}}
    for version in read_versions(first):  # each tag stands on a commit that holds what it names, and on the branch
        stages = load_yaml(first.show(version.commit, "dvc.lock") or "")["stages"]
        assert digest(stages[f"corpus@{version.style}"]["seed"]) == version.digest
        assert first.ok("merge-base", "--is-ancestor", version.commit, "HEAD")
    assert (first.path / "corpus" / ".gitignore").read_text().split() == ["/oratory", "/literary", "/technical"]
    assert not first("status", "--porcelain") and not second("status", "--porcelain")


def test_a_tag_that_only_looks_like_a_version_is_not_written_over(origin: str, tmp_path: Path) -> None:
    """Somebody tagged by hand: that is no version of ours, and its name is taken."""
    first = clone(origin, tmp_path / "first")
    build(first, "oratory", 1)
    first("tag", "corpus/literary/v1")
    first("tag", "-a", "-m", "mine", "corpus/literary/v2")
    by_hand = {name: first("rev-parse", name) for name in ("corpus/literary/v1", "corpus/literary/v2")}
    version = build(first, "literary", 7)
    assert version is not None and version.tag == "corpus/literary/v3"
    assert tags(first) == {"corpus/oratory/v1": digest(1), "corpus/literary/v3": digest(7)}
    assert {name: first("rev-parse", name) for name in by_hand} == by_hand


def test_an_artifact_that_others_pushed_first_keeps_their_version(origin: str, tmp_path: Path) -> None:
    first = clone(origin, tmp_path / "first")
    publish(first)
    second = clone(origin, tmp_path / "second")
    build(first, "literary", 5)
    build(second, "literary", 5)
    publish(first)
    publish(second)
    assert tags(second) == {"corpus/literary/v1": digest(5)}
    assert second("rev-parse", "HEAD") == first("rev-parse", "HEAD")


def test_a_rebase_cut_off_before_the_files_are_refreshed_is_done_again(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = clone(origin, tmp_path / "first")
    publish(first)
    second = clone(origin, tmp_path / "second")
    build(first, "literary", 1)
    publish(first)
    build(second, "oratory", 2)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sharing, "update_refs", cut)
        with pytest.raises(KeyboardInterrupt):
            fetch(second)
    assert tags(second) == {"corpus/oratory/v1": digest(2)}
    publish(second)
    assert tags(second) == {"corpus/literary/v1": digest(1), "corpus/oratory/v1": digest(2)}


def test_an_origin_that_is_gone_is_said_and_loses_nothing(origin: str, tmp_path: Path) -> None:
    git = clone(origin, tmp_path / "first")
    build(git, "literary", 1)
    (tmp_path / "origin.git").rename(tmp_path / "elsewhere.git")
    with pytest.raises(ValueError, match="cannot be reached"):
        share(git)
    assert [version.tag for version in pending(git)] == ["corpus/literary/v1"]


def test_a_new_shared_registry_asks_where_its_data_goes(origin: str, tmp_path: Path) -> None:
    given = Settings(home=tmp_path / "home", data_registry=origin)
    (tmp_path / "home").mkdir()
    with pytest.raises(ValueError, match="TIMBRE_DATA_REMOTE"):
        found(given.registry_path, given)


TREES = st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)), max_size=3)


@given(TREES, TREES)
def test_a_merge_with_one_side_unchanged_is_the_other_side(base: dict[str, object], changed: dict[str, object]) -> None:
    assert merge_values(base, changed, base) == changed
    assert merge_values(base, base, changed) == changed


def background(pid_file: Path) -> str:
    """Shell text that starts a process in a session of its own, says which, and waits for it."""
    started = f"setsid env --default-signal=INT sleep 600 & echo $! > '{pid_file}.new'"
    return f"{started}; mv '{pid_file}.new' '{pid_file}'; wait"


def gone(pid: int) -> bool:
    """Ended, if perhaps not yet waited for by whoever inherited it."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_killed_owner_left_running_is_ended(tmp_path: Path) -> None:
    token_file, started = tmp_path / "build", tmp_path / "started"
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom timbre.tasks.stores.processes import run_group\n"
        "run_group(['sh', '-c', sys.argv[2]], cwd=Path('/'), environment=dict(os.environ), token_file=Path(sys.argv[1]))"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(token_file), background(started)], cwd=PROJECT_ROOT)
    deadline = time.monotonic() + 120
    while not started.exists():
        assert time.monotonic() < deadline and owner.poll() is None
        time.sleep(0.05)
    owner.kill()
    owner.wait()
    left = int(started.read_text())
    assert not gone(left)
    assert end_leftovers(token_file)
    assert gone(left)
    assert not end_leftovers(token_file)


def test_a_command_that_takes_too_long_ends_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(TimeoutError, match="more than 2 seconds"):
        run_group(
            ["sh", "-c", background(pid_file)], cwd=tmp_path, environment=dict(os.environ),
            token_file=tmp_path / "build", timeout=2,
        )  # fmt: skip
    assert gone(int(pid_file.read_text()))
    assert not (tmp_path / "build").exists()


def test_a_shared_registry_named_beside_a_local_one_is_not_ignored(origin: str, tmp_path: Path) -> None:
    DataRegistry.open(Settings(home=tmp_path / "home"))
    with pytest.raises(ValueError, match="is shared with nobody: move that folder away"):
        DataRegistry.open(Settings(home=tmp_path / "home", data_registry=origin, data_remote=str(tmp_path / "remote")))
