"""Champions for the server's tests: a home with a ledger and real bundles, and a server that answers over a real socket."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import GateConfig
from timbre.registry.ledger import Ledger
from timbre.settings import PROJECT_ROOT

MODEL = "timbre-literary"


@dataclass
class Promotions:
    """A home in which versions become champion by a row of the ledger, as a promotion writes it."""

    home: Path
    bundles: dict[int, Artifact]
    make: Callable[..., Artifact]

    def promote(self, version: int, model: str = MODEL, baseline: Artifact | None = None) -> None:
        """Make a version champion, beside a baseline if one is given."""
        store = ArtifactStore(self.home)
        bundle = store.adopt(self.bundles[version].path)
        subject = json.dumps({"subject": {"bundle": bundle.digest}})

        def judge(_: GateConfig, __: Mapping[str, Input], workspace: Workspace) -> None:
            (workspace.output / "verdict.json").write_text(subject)

        beside = {} if baseline is None else {"baseline_adapter": store.adopt(baseline.path)}
        verdict = store.build(Stage("verdict", 1, judge), GateConfig(policy=f"v{version}"), beside)
        with closing(Ledger(f"sqlite:///{self.home / 'ledger.db'}")) as ledger:
            ledger.append(
                ledger.latest(model), model=model, kind="promote", version=version, verdict=verdict.digest, policy="tiny", strictness=1,
                reason="test",
            )  # fmt: skip


@dataclass
class Running:
    """A `timbre serve` of its own process."""

    process: "subprocess.Popen[str]"
    address: str
    lines: list[str] = field(default_factory=list)

    def post(self, path: str, timeout: float = 60, **body: Any) -> httpx.Response:
        return httpx.post(self.address + path, json=body, timeout=timeout, trust_env=False)

    def text(self, prompt: str, **more: Any) -> dict[str, Any]:
        answer = self.post("/v1/completions", prompt=prompt, **more)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=30, trust_env=False)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def log(self) -> list[dict[str, Any]]:
        found = []
        for line in list(self.lines):
            with suppress(ValueError):
                found.append(json.loads(line))
        return found


@contextmanager
def serving(home: Path, *options: str, python: str = sys.executable, cwd: Path = PROJECT_ROOT, **environment: str) -> Iterator[Running]:
    """`timbre serve` on a free port, once it says that it listens."""
    command = [python, "-m", "timbre.cli", "serve", "--port", "0", *options]
    variables = os.environ | {"TIMBRE_HOME": str(home)} | environment
    process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    stderr, lines = process.stderr, []
    reader = threading.Thread(target=lambda: lines.extend(stderr), daemon=True)
    reader.start()
    try:
        first = process.stdout.readline()
        address = re.search(r"http://[^/ \"]+", first)
        if address is None:
            process.wait(30)
            reader.join(10)
            raise AssertionError("".join(lines))
        yield Running(process, address[0], lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        reader.join(10)


@pytest.fixture(scope="session")
def other_bundle(tiny_store: ArtifactStore, tiny_parts: dict[str, Artifact]) -> Artifact:
    """A second version, which writes otherwise."""
    from tests.building import export_bundle
    from tests.unit.conftest import EXPORT, adapter_artifact

    parts = tiny_parts | {"adapter": adapter_artifact(tiny_store, tiny_parts["model"], seed=1, size=0.3)}
    return export_bundle(EXPORT, store=tiny_store, **parts)


@pytest.fixture(scope="session")
def tiny_base(tiny_store: ArtifactStore, tiny_parts: dict[str, Artifact]) -> Artifact:
    """The untuned model of both versions as a decoder."""
    from timbre.export.base import resolve_base

    return resolve_base(tiny_parts["model"], tiny_parts["decoder"], tiny_store)


@pytest.fixture(scope="session")
def promotions(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bundle: Artifact,
    other_bundle: Artifact,
    make_artifact: Callable[..., Artifact],
    tiny_parts: dict[str, Artifact],
    tiny_base: Artifact,
) -> Callable[..., Promotions]:
    """Makes a home in which version 1 is champion, with the model that it was made of unless `base` is false."""

    def make(*, base: bool = True) -> Promotions:
        place = Promotions(tmp_path_factory.mktemp("home"), {1: tiny_bundle, 2: other_bundle}, make_artifact)
        place.promote(1)
        if base:
            for part in (tiny_parts["model"], tiny_parts["decoder"], tiny_base):
                ArtifactStore(place.home).adopt(part.path)
        return place

    return make


@pytest.fixture(scope="module")
def server(promotions: Callable[[], Promotions]) -> Iterator[Running]:
    """One server for the tests that only ask."""
    with serving(promotions().home, "--limit", "max_tokens=400") as running:
        yield running
