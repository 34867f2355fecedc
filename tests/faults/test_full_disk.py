"""A disk that is really full: a small tmpfs, mounted for these processes alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import add_source
from timbre.config import release_config
from timbre.settings import PROJECT_ROOT
from timbre.tasks.stages import StyleParameters, write_parameters

pytestmark = pytest.mark.slow

_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
_LEFT_KIB = 48  # documents fit, Data Docs do not
_SCRIPT = """
set -eu
mount -t tmpfs -o size=64m none "$HOME_FOLDER"
cp -a "$PREPARED/." "$HOME_FOLDER"
mount -o "remount,size=$(( $(du -sk "$HOME_FOLDER" | cut -f1) + LEFT ))k" "$HOME_FOLDER"
"$@" >"$SAID/full.out" 2>"$SAID/full.err" && code=0 || code=$?
echo "$code" >"$SAID/full.code"
find "$HOME_FOLDER" \\( -path '*/artifacts/*' -o -name '.building-*' \\) >"$SAID/full.left"
mount -o remount,size=64m "$HOME_FOLDER"
"$@" >"$SAID/free.out" 2>"$SAID/free.err"
find "$HOME_FOLDER/artifacts/corpus" -mindepth 1 -maxdepth 1 >"$SAID/free.left"
"""


def test_a_stage_on_a_full_disk_leaves_nothing_half_made_and_goes_on_when_there_is_space(home: Path, tmp_path: Path) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run([*_OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("mounts of one's own are not allowed here")
    texts, said = tmp_path / "texts", tmp_path / "said"
    texts.mkdir()
    said.mkdir()
    for number in range(14):
        lines = (f"On day {number} of week {week} the grey water moved under hull {number * week}, and nobody spoke." for week in range(9))
        (texts / f"{number:02}.txt").write_text(" ".join(lines))
    add_source(texts, "tales", "Ann", "own work")
    config = release_config("tales")
    chosen = StyleParameters(corpus=config.corpus, target=config.target.of_tokens(), model=config.model)
    write_parameters(tmp_path / "params.yaml", {"styles": {"tales": chosen.model_dump(mode="json")}})
    prepared = shutil.move(home, tmp_path / "prepared")
    home.mkdir()

    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "cli",
        "stage",
        "corpus",
        "--style",
        "tales",
        "--params",
        str(tmp_path / "params.yaml"),
        "--out",
        str(out),
    ]
    places = {"HOME_FOLDER": str(home), "PREPARED": str(prepared), "SAID": str(said), "LEFT": str(_LEFT_KIB)}
    done = subprocess.run(
        [*_OWN_MOUNTS, "bash", "-c", _SCRIPT, "bash", *command],
        env=os.environ | places, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    errors = (said / "full.err").read_text()
    assert (said / "full.code").read_text() == "2\n", errors
    sentence = errors.splitlines()[-1]
    assert sentence.startswith(f"timbre: the disk is full under {home}") and sentence.endswith("run the same command again")
    assert "Traceback" not in errors and (said / "full.out").read_text() == ""
    assert [line for line in (said / "full.left").read_text().splitlines() if Path(line).parent != home / "artifacts"] == []

    assert done.returncode == 0, (said / "free.err").read_text()
    digest = (said / "free.out").read_text().strip()
    assert {Path(line).name for line in (said / "free.left").read_text().splitlines()} == {"keys", digest}
    assert (out / "manifest.json").is_file(), "laid where it was asked for, once it was whole"
