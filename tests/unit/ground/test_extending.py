"""The worked examples of CONTRIBUTING.md, run as they stand there on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from timbre.settings import PROJECT_ROOT

_BLOCK = re.compile(r"```(?:python|text)\n(.*?)```", re.DOTALL)


def _blocks(heading: str) -> list[str]:
    section = (PROJECT_ROOT / "CONTRIBUTING.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return _BLOCK.findall(section)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder that holds a copy of the package, without what it was built from."""
    shutil.copytree(PROJECT_ROOT / "timbre", tmp_path / "timbre", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    return tmp_path


def _python(package: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(package), "TIMBRE_ROOT": str(PROJECT_ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=package, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_objective_is_one_file(package: Path) -> None:
    (code,) = _blocks("Adding an objective")
    (package / "timbre/objectives/experimental/entropy_bonus.py").write_text(code)
    out = _python(
        package,
        "import torch\n"
        "from timbre.config import TrainingConfig\n"
        "from timbre.objectives.head import Head\n"
        "from timbre.objectives.objective import Positions, objective\n"
        "config = TrainingConfig(objective='entropy_bonus')\n"
        "hidden = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)\n"
        "weight = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))\n"
        "labels = torch.arange(5)\n"
        "loss = objective(config.objective).total(hidden, Head(weight, 7), Positions(labels))\n"
        "loss.backward()\n"
        "log_q = (hidden.detach() @ weight.T).log_softmax(-1)\n"
        "plain = -log_q[labels, labels].sum() + 0.1 * (log_q.exp() * log_q).sum()\n"
        "print(abs(float(loss) - float(plain)) < 1e-4, bool(hidden.grad.abs().sum() > 0))",
    )
    assert out.split() == ["True", "True"]


def test_a_step_is_its_room_and_an_entry_in_the_table(package: Path) -> None:
    room, entry = _blocks("Adding a step")
    (package / "timbre/corpus/lengths.py").write_text(room)
    table = package / "timbre/pipeline/steps.py"
    before, after = table.read_text().split('    Step(\n        "prompts",')
    table.write_text(f'{before}{entry}    Step(\n        "prompts",{after}')
    out = _python(
        package,
        "from typer.testing import CliRunner\n"
        "from timbre import pipeline\n"
        "from timbre.cli.stage import app\n"
        "from timbre.config import ReleaseConfig\n"
        "config = ReleaseConfig()\n"
        "step = pipeline.STEP['lengths']\n"
        "print(step in pipeline.steps_of(config), step.stage.name, step.cost(config).seconds > 0, pipeline.needs_of(step, config))\n"
        "print('Count the words of each document.' in CliRunner().invoke(app, ['lengths', '--help']).output)",
    )
    assert out.splitlines() == ["True lengths True {'corpus': 'corpus'}", "True"]
