"""Machines share artifacts through a bucket of a real S3 server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from timbre.artifacts import ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.settings import settings


class _Say(Frozen):
    text: str


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


def test_machines_share_through_a_bucket_of_a_real_s3_server(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(config: _Say, _: Mapping[str, Input], work: Workspace) -> None:
        built.append(config.text)
        (work.output / "deep").mkdir()
        (work.output / "deep" / "words.txt").write_text(config.text)

    monkeypatch.setenv("TIMBRE_ARTIFACT_STORE", bucket)
    settings.cache_clear()
    try:
        first, second = (
            ArtifactStore(tmp_path / name, SILENT).build(Stage("words", 1, build), _Say(text="The sea was calm."), {})
            for name in ("one", "two")
        )
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert built == ["The sea was calm."] and first.digest == second.digest
    assert json.loads(second.path.joinpath("manifest.json").read_bytes())["digest"] == first.digest
