"""Artifacts that machines share: what one built another fetches and verifies, and nothing is believed or lost."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from timbre.artifacts import CRASHED, Artifact, ArtifactStore, Input, IntegrityError, Stage, Workspace
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.settings import settings


class _Say(Frozen):
    text: str


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def name(url: str) -> None:
        monkeypatch.setenv("TIMBRE_ARTIFACT_STORE", url)
        settings.cache_clear()

    yield name
    monkeypatch.undo()
    settings.cache_clear()


def _stage(built: list[str], crashed: bool = False) -> Stage[_Say]:
    def build(config: _Say, _: Mapping[str, Input], work: Workspace) -> None:
        built.append(config.text)
        (work.output / "deep" / "er").mkdir(parents=True)
        (work.output / "deep" / "er" / "words.txt").write_text(config.text)
        if crashed:
            (work.output / CRASHED).write_text("{}")

    return Stage("words", 1, build)


def _two_machines(place: Path, text: str = "The sea was calm.") -> tuple[Artifact, Artifact, list[str]]:
    """The same stage asked for on one machine and then on another; and what was built."""
    built: list[str] = []
    first, second = (ArtifactStore(place / name, SILENT).build(_stage(built), _Say(text=text), {}) for name in ("one", "two"))
    return first, second, built


def _sent(name: Path) -> Path:
    """The folder of a shared store to which a key leads."""
    return name.parents[1] / name.read_text()


@pytest.mark.parametrize("url", ["{folder}", "file://{folder}", "memory://{folder}"])
def test_what_one_machine_built_another_fetches(url: str, tmp_path: Path, share: Callable[[str], None]) -> None:
    share(url.format(folder=tmp_path / "shared"))
    first, second, built = _two_machines(tmp_path)
    assert built == ["The sea was calm."] and first.digest == second.digest
    assert second.file("deep/er/words.txt").read_text() == "The sea was calm." and second.cached
    assert second.path.parents[2] == tmp_path / "two" and not list((tmp_path / "two" / "work").glob("*/"))
    found = ArtifactStore(tmp_path / "two", SILENT).find("words", first.manifest.key)
    assert found is not None and found.digest == first.digest


def test_without_its_name_an_artifact_is_not_there_and_is_sent_again(tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    built: list[str] = []
    first = ArtifactStore(tmp_path / "one", SILENT).build(_stage(built), _Say(text="a"), {})
    name = tmp_path / "shared" / "words" / "keys" / first.manifest.key
    _sent(name).joinpath("deep", "er", "words.txt").write_text("half")
    name.unlink()  # as when the machine that sent it lost power
    for home in ("two", "three"):
        assert ArtifactStore(tmp_path / home, SILENT).build(_stage(built), _Say(text="a"), {}).digest == first.digest
    assert built == ["a", "a"] and name.read_text().startswith(first.digest)


@pytest.mark.parametrize("gone", ["manifest.json", "deep/er/words.txt", ""])
def test_what_a_lifetime_of_the_bucket_took_is_built_and_sent_again(gone: str, tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    built: list[str] = []
    first = ArtifactStore(tmp_path / "one", SILENT).build(_stage(built), _Say(text="a"), {})
    sent = _sent(tmp_path / "shared" / "words" / "keys" / first.manifest.key)
    sent.joinpath(gone).unlink() if gone else shutil.rmtree(sent)
    with pytest.warns(UserWarning, match=r"could not be looked for there \(FileNotFoundError"):
        ArtifactStore(tmp_path / "two", SILENT).build(_stage(built), _Say(text="a"), {})
    assert ArtifactStore(tmp_path / "three", SILENT).build(_stage(built), _Say(text="a"), {}).digest == first.digest
    assert built == ["a", "a"]


def test_two_machines_that_send_the_same_at_once_leave_one_that_is_whole(tmp_path: Path, share: Callable[[str], None]) -> None:
    """Files that stand outside of the digest differ between machines: a mixture of two senders' would fit neither manifest."""
    share(str(tmp_path / "shared"))
    built: list[str] = []

    def build(config: _Say, _: Mapping[str, Input], work: Workspace) -> None:
        built.append(config.text)
        (work.output / "speed.json").write_text(str(len(built)))
        (work.output / "words.txt").write_text(config.text)
        if len(built) == 1:  # while this machine builds, another builds and sends the same
            ArtifactStore(tmp_path / "two", SILENT).build(stage, config, {})

    stage = Stage("words", 1, build, timings=("speed.json",))
    one = ArtifactStore(tmp_path / "one", SILENT).build(stage, _Say(text="a"), {})
    three = ArtifactStore(tmp_path / "three", SILENT).build(stage, _Say(text="a"), {})
    assert built == ["a", "a"] and three.digest == one.digest and three.file("speed.json").read_text() in ("1", "2")
    assert len(list((tmp_path / "shared" / "words").glob(f"{one.digest}-*"))) == 2


def test_a_damaged_or_another_artifact_of_the_store_is_refused_and_named(tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    built: list[str] = []
    one, two = (ArtifactStore(tmp_path / "one", SILENT).build(_stage(built), _Say(text=text), {}) for text in ("a", "b"))
    keys = tmp_path / "shared" / "words" / "keys"
    (keys / one.manifest.key).write_text(_sent(keys / two.manifest.key).name)
    with pytest.raises(IntegrityError, match=f"another artifact than it says: remove words/keys/{one.manifest.key} there"):
        ArtifactStore(tmp_path / "two", SILENT).build(_stage(built), _Say(text="a"), {})
    _sent(keys / two.manifest.key).joinpath("deep", "er", "words.txt").write_text("c")
    with pytest.raises(IntegrityError, match=f"has a damaged words .* remove words/keys/{two.manifest.key} there"):
        ArtifactStore(tmp_path / "two", SILENT).build(_stage(built), _Say(text="b"), {})
    assert built == ["a", "b"] and list((tmp_path / "two" / "artifacts").glob("*/*")) == []


@pytest.mark.parametrize("outside", ["../../escaped", "{folder}/escaped", ""])
def test_a_name_that_leads_out_of_the_store_fetches_nothing(outside: str, tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    built: list[str] = []
    one = ArtifactStore(tmp_path / "one", SILENT).build(_stage(built), _Say(text="a"), {})
    (tmp_path / "escaped").mkdir()
    (tmp_path / "escaped" / "secret.txt").write_text("secret")
    (tmp_path / "shared" / "words" / "keys" / one.manifest.key).write_text(outside.format(folder=tmp_path))
    with pytest.warns(UserWarning, match=r"could not be looked for there .* no artifact"):
        ArtifactStore(tmp_path / "two", SILENT).build(_stage(built), _Say(text="a"), {})
    assert built == ["a", "a"] and not list((tmp_path / "two").rglob("secret.txt"))


def test_a_store_that_does_not_answer_is_said_and_costs_only_time(tmp_path: Path, share: Callable[[str], None]) -> None:
    share("nosuch://team/artifacts")
    with pytest.warns(UserWarning) as told:
        _, _, built = _two_machines(tmp_path)
    said = [str(one.message) for one in told]
    assert built == ["The sea was calm."] * 2
    assert [next(word for word in ("looked for", "sent") if word in one) for one in said] == ["looked for", "sent"] * 2
    assert all("TIMBRE_ARTIFACT_STORE is nosuch://team/artifacts" in one and "goes on without it" in one for one in said)


def test_a_store_that_broke_off_is_not_asked_again_for_some_minutes(
    tmp_path: Path, share: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def silent(url: str, **_: object) -> None:
        asked.append(url)
        raise TimeoutError("no answer")

    share("s3://team/artifacts")
    monkeypatch.setattr("fsspec.url_to_fs", silent)
    store, built = ArtifactStore(tmp_path / "one", SILENT), list[str]()
    with pytest.warns(UserWarning, match="TimeoutError: no answer"):
        store.build(_stage(built), _Say(text="a"), {})
    store.build(_stage(built), _Say(text="b"), {})
    assert built == ["a", "b"] and len(asked) == 1
    mark = tmp_path / "one" / "work" / "artifact-store-silent"
    os.utime(mark, (0, 0))
    with pytest.warns(UserWarning, match="TimeoutError: no answer"):
        store.build(_stage(built), _Say(text="c"), {})
    assert len(asked) == 2


def test_a_folder_is_one_place_wherever_a_process_works(
    tmp_path: Path, share: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    share("shared")
    assert settings().artifact_store == str(tmp_path / "shared")


def test_what_a_crashed_step_left_is_nobody_elses(tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    ArtifactStore(tmp_path / "one", SILENT).build(_stage([], crashed=True), _Say(text="a"), {})
    assert not (tmp_path / "shared" / "words").exists()
