"""The extra `serve`, from the wheel in an environment of its own: everything that a server answers, without torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.package.installed import build_wheel, install
from tests.unit.serving.conftest import serving

if TYPE_CHECKING:
    from tests.unit.serving.conftest import Promotions


@pytest.mark.slow
def test_the_extra_serve_answers_as_the_whole_does_and_brings_no_torch(
    promotions: "Callable[..., Promotions]", tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installed = install(build_wheel(tmp_path_factory.mktemp("wheel")), tmp_path / "venv", "serve")
    assert {"torch", "transformers", "peft", "mlflow", "prefect", "dvc", "pandas"}.isdisjoint(installed.packages), installed.packages
    home, python = promotions().home, str(installed.folder / "bin" / "python")
    bodies: list[dict[str, Any]] = [
        {"max_tokens": 24, "seed": 1},
        {"max_tokens": 24, "seed": 1, "top_p": 0.9, "min_p": 0.05, "top_h": 0.8},
        {"max_tokens": 24, "seed": 1, "strength": 0.5},
    ]
    texts = []
    for options in ({}, {"python": python, "cwd": tmp_path}):
        with serving(home, **options) as running:  # type: ignore[arg-type]
            texts.append([running.text("It was a quiet", **each)["choices"][0]["text"] for each in bodies])
            assert running.get("/metrics").status_code == 200
    assert texts[0] == texts[1] and len(set(texts[0])) > 1
