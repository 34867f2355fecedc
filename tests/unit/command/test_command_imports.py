"""Help is instant because it loads nothing that weighs anything."""

import re
import subprocess
import sys

from typer.testing import CliRunner

from timbre.cli import app

HEAVY = ("torch", "transformers", "great_expectations", "mlflow", "prefect", "peft", "pandas", "dvc", "onnxruntime", "sklearn")


def _imported(report: str) -> set[str]:
    """Top packages in what `-X importtime` wrote."""
    return {match[1].partition(".")[0] for match in re.finditer(r"^import time:.*\|\s*([\w.]+)$", report, re.MULTILINE)}


def test_help_imports_no_heavy_library() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "timbre.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "timbre run --style literary" in done.stdout
    imported = _imported(done.stderr)
    assert {"timbre", "typer"} <= imported, "the report is understood"
    assert imported.isdisjoint(HEAVY), imported & set(HEAVY)


def test_help_of_every_command_imports_no_heavy_library() -> None:
    code = (
        "import sys; from typer.main import get_command; from typer.testing import CliRunner; from timbre.cli import app\n"
        "def shown(command, words):\n"
        "    done = CliRunner().invoke(app, [*words, '--help'])\n"
        "    assert done.exit_code == 0, (words, done.output)\n"
        "    return 1 + sum(shown(sub, [*words, name]) for name, sub in getattr(command, 'commands', {}).items())\n"
        f"print(shown(get_command(app), []), *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    count, *heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert int(count) > 30 and heavy == []


def test_the_help_of_corpus_add_says_which_licences_stand_for_consent() -> None:
    said = " ".join(CliRunner().invoke(app, ["corpus", "add", "--help"], env={"COLUMNS": "200"}).output.split())
    assert "'own work', CC0-1.0 and 'public domain' as licence say it already" in said and "not recorded" in said
