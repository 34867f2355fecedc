"""`timbre target`: blends by name, packing, and what is said when there is nothing yet."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.options import resolve


def test_a_blend_makes_a_style_and_says_how_to_go_on(home: Path) -> None:
    result = CliRunner().invoke(app, ["target", "blend", "literary=0.7,technical=0.3", "--name", "sea-manual", "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (home / "styles" / "sea-manual.toml").is_file()
    words = shlex.split(report["next"])
    given = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    config = resolve(words[words.index("--style") + 1], "quick", 1, "smollm2-135m-instruct", given)
    assert [(part.style, part.weight, part.sources) for part in config.target.blend] == [
        ("literary", 0.7, ("moby-dick",)), ("technical", 0.3, ("django-docs",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["blend", "literary=0.7,technical=0.2", "--dry-run"], "sum to 0.9"), (["blend", "literary=0.7"], "two styles"),
        (["inspect", "--style", "oratory"], "no target for these settings yet"), (["pack", "out"], "no target for these settings yet"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["target", *arguments])
    assert isinstance(result.exception, ValueError) and sentence in str(result.exception)


def test_help_teaches_within_80_columns() -> None:
    for command in ("inspect", "blend", "pack", "unpack"):
        text = re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, ["target", command, "--help"], env={"COLUMNS": "80"}).stdout)
        assert "Usage:" in text and max(map(len, text.splitlines())) <= 80
