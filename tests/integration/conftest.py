"""A checkout of its own for the road: the project's data and stages, a policy for tiny models, a style, and a tiny base."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_policy import TINY_POLICY
from timbre.settings import PROJECT_ROOT

SMALL = {
    "target.train_tokens": 4096, "target.passage_tokens": 128, "target.top_k": 16, "target.admission_tokens": 1024,
    "target.reference_learning_rate": 0.01, "target.reference_epochs": 4, "target.batch_tokens": 512,
    "training.learning_rate": 0.01, "training.epochs": 4, "training.batch_tokens": 512, "training.validation_tokens": 1024,
    "evaluation.likelihood_tokens": 2048, "evaluation.passage_tokens": 128, "evaluation.prompts": 4, "evaluation.new_tokens": 24,
    "evaluation.memorisation_prompts": 2, "evaluation.bias_items": 90, "evaluation.fact_items": 166,
    "export.parity_prompts": 4, "export.parity_tokens": 6, "export.latency_tokens": 4, "gate.policy": "tiny",
}  # fmt: skip


@dataclass(frozen=True)
class Checkout:
    """Where a newcomer would type `timbre`."""

    root: Path
    home: Path
    model: Path

    def timbre(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        command, environment = [sys.executable, "-m", "timbre.cli", *arguments], self._environment()
        return subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=timeout, check=False)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"TIMBRE_ROOT": str(self.root), "TIMBRE_HOME": str(self.home), "COLUMNS": "80"}

    def run(self, **changes: object) -> dict[str, Any]:
        """`timbre run` on the tiny style and model; its JSON and exit code."""
        return self._released(("run",), changes)

    def release(self, **changes: object) -> dict[str, Any]:
        """`timbre stage release`, the same last step by hand; its JSON and exit code."""
        return self._released(("stage", "release"), changes)

    def begin(self, **changes: object) -> subprocess.Popen[str]:
        """`timbre run`, started in a session of its own and not waited for."""
        command = [sys.executable, "-m", "timbre.cli", "run", "--style", "tiny", "--model", str(self.model), *_options(changes)]
        return subprocess.Popen(
            command, env=self._environment(), cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def _released(self, command: tuple[str, ...], changes: dict[str, object]) -> dict[str, Any]:
        done = self.timbre(*command, "--style", "tiny", "--model", str(self.model), "--json", *_options(changes))
        assert done.stdout, done.stderr[-3000:]
        outcome: dict[str, Any] = json.loads(done.stdout) | {"exit": done.returncode}
        return outcome

    def json(self, *arguments: str) -> Any:
        done = self.timbre(*arguments, "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


def _options(changes: dict[str, object]) -> list[str]:
    return [f"--set={name}={value}" for name, value in (SMALL | changes).items()]


@pytest.fixture(scope="session")
def checkout(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> Callable[..., Checkout]:
    """Makes a checkout, in a folder if given, with the style `tiny` added from a JSON Lines file."""

    def make(root: Path | None = None) -> Checkout:
        root = root or tmp_path_factory.mktemp("checkout")
        for name in ("data", "mlflow"):
            shutil.copytree(PROJECT_ROOT / name, root / name)
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copyfile(PROJECT_ROOT / name, root / name)
        (root / "mlflow" / "policies" / "tiny.toml").write_text(TINY_POLICY)
        texts = root / "texts.jsonl"
        texts.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in tiny_corpus_texts))
        place = Checkout(root, root / "home", tiny_model_dir)
        added = place.timbre("corpus", "add", str(texts), "--style", "tiny", "--author", "various", "--licence", "CC0-1.0")
        assert added.returncode == 0, added.stderr
        return place

    return make


@pytest.fixture(scope="session")
def walked(checkout: Callable[[], Checkout]) -> tuple[Checkout, dict[str, Any]]:
    """A checkout in which the road was walked once; it takes minutes, so the tests that look at it share it."""
    place = checkout()
    return place, place.run()


@pytest.fixture
def texts(home: Path, tmp_path: Path, tiny_corpus_texts: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40 texts, and a home of which no git around the tests knows."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, (author, text) in enumerate(tiny_corpus_texts):
        (folder / f"{number:02} {author}.txt").write_text(text)
    return folder
