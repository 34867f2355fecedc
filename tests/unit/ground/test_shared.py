"""Artifacts that machines share: what one built another fetches and verifies, and nothing is believed or lost."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
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
    name.unlink()  # as when the machine that sent it lost power
    (tmp_path / "shared" / "words" / first.digest / "deep" / "er" / "words.txt").write_text("half")
    for home in ("two", "three"):
        assert ArtifactStore(tmp_path / home, SILENT).build(_stage(built), _Say(text="a"), {}).digest == first.digest
    assert built == ["a", "a"] and name.read_text() == first.digest


def test_a_damaged_or_another_artifact_of_the_store_is_refused_and_named(tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    built: list[str] = []
    one, two = (ArtifactStore(tmp_path / "one", SILENT).build(_stage(built), _Say(text=text), {}) for text in ("a", "b"))
    keys = tmp_path / "shared" / "words" / "keys"
    (keys / one.manifest.key).write_text(two.digest)
    with pytest.raises(IntegrityError, match=f"another artifact than it says: remove words/keys/{one.manifest.key} there"):
        ArtifactStore(tmp_path / "two", SILENT).build(_stage(built), _Say(text="a"), {})
    (tmp_path / "shared" / "words" / two.digest / "deep" / "er" / "words.txt").write_text("c")
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
    with pytest.warns(UserWarning, match=r"could not be looked for there .* no digest"):
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


def test_what_a_crashed_step_left_is_nobody_elses(tmp_path: Path, share: Callable[[str], None]) -> None:
    share(str(tmp_path / "shared"))
    ArtifactStore(tmp_path / "one", SILENT).build(_stage([], crashed=True), _Say(text="a"), {})
    assert not (tmp_path / "shared" / "words").exists()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a real S3 server (SeaweedFS), on loopback, with keys of its own."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("needs the S3 server of `make install`")
    names = ("master", "master.port.grpc", "volume", "volume.port.grpc", "filer", "filer.port.grpc", "s3", "s3.port.grpc")
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = dict(zip(names, (probe.getsockname()[1] for probe in probes), strict=True))
    for probe in probes:
        probe.close()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", uuid.uuid4().hex),
        ("AWS_SECRET_ACCESS_KEY", uuid.uuid4().hex),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports['s3']}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    flags = [f"-{name if '.' in name else f'{name}.port'}={port}" for name, port in ports.items()]
    fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={tmp_path / 'weed'}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"]
    (tmp_path / "weed").mkdir()
    command = [
        str(weed),
        "-logtostderr=true",
        "server",
        *fixed,
        "-volume.max=0",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *flags,
    ]
    with (tmp_path / "weed.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
    try:
        _answers(f"http://127.0.0.1:{ports['s3']}/healthz", server, tmp_path / "weed.log")
        subprocess.run([sys.executable, "infra/buckets.py", "team"], check=True, stdout=subprocess.DEVNULL)
        yield "s3://team/artifacts"
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the S3 server did not answer: {log.read_text()[-2000:]}")


def test_machines_share_through_a_bucket_of_a_real_s3_server(bucket: str, tmp_path: Path, share: Callable[[str], None]) -> None:
    share(bucket)
    first, second, built = _two_machines(tmp_path)
    assert built == ["The sea was calm."] and first.digest == second.digest
    assert json.loads(second.path.joinpath("manifest.json").read_bytes())["digest"] == first.digest
