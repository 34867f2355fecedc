"""Bad input, as it is typed: the exit code, one sentence that names the place, and nothing half-made left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from timbre.artifacts import ArtifactStore
from timbre.cli import main

WORDS = "The grey water moved under the hull, and nobody on the deck had anything to say about it. "
GIVEN = ("--author", "Ann", "--licence", "CC0-1.0")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """`typed("run", …)`: the exit code and the last line on stderr, through the command's own way out."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["timbre", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        said = capsys.readouterr().err.splitlines()
        return int(ending.value.code or 0), said[-1] if said else ""

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


def texts(folder: Path, count: int, sentences: int = 8) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.txt").write_text(f"Page {number} of the log. " + WORDS * sentences + f"So it was on day {number}.")
    return folder


def parameters(path: Path, style: str) -> Path:
    """A parameter file that has the style."""
    from timbre.config import release_config
    from timbre.tasks.stages import StyleParameters, write_parameters

    config = release_config(style)
    chosen = StyleParameters(corpus=config.corpus, target=config.target, model=config.model)
    write_parameters(path, {"styles": {style: chosen.model_dump(mode="json")}})
    return path


def whole(home: Path) -> bool:
    """No artifact that is half there, and nothing that is still being built."""
    return not ArtifactStore(home).all() and not list(home.glob("artifacts/*/.building-*"))


def test_text_that_is_none_is_refused_when_it_is_added(typed: Callable[..., tuple[int, str]], home: Path, tmp_path: Path) -> None:
    cases = {"empty": None, "binary": b"\x7fELF\x00\x01", "blank": b" \n"}
    sentences = {"empty": "holds no file", "binary": "NUL at byte 4", "blank": "there is no text"}
    for name, data in cases.items():
        (tmp_path / name).mkdir()
        if data is not None:
            (tmp_path / name / "a.txt").write_bytes(data)
        code, said = typed("corpus", "add", str(tmp_path / name), "--style", "tales", *GIVEN)
        assert code == 2 and said.startswith("timbre: ") and sentences[name] in said, name
    code, said = typed("corpus", "add", str(texts(tmp_path / "good", 3)), "--style", "tales", "--author", "Ann")
    assert (code, said) == (2, "timbre: licence is missing: say `--licence ...`; no text is used without it")
    assert not list(home.glob("sources/*/")) and not list(home.glob("styles/*.toml"))


@pytest.mark.parametrize(
    ("sentences", "said"), [(4, "too few to split: usable documents here 1, at least 4 are needed"), (0, "no document is left")]
)
def test_one_document_and_nothing_usable_are_refused_when_the_corpus_is_built(
    typed: Callable[..., tuple[int, str]], home: Path, tmp_path: Path, sentences: int, said: str
) -> None:
    assert typed("corpus", "add", str(texts(tmp_path / "one", 1, sentences)), "--style", "tales", *GIVEN)[0] == 0
    params = parameters(tmp_path / "params.yaml", "tales")
    code, line = typed("stage", "corpus", "--style", "tales", "--params", str(params), "--out", str(tmp_path / "out"))
    assert code == 2 and said in line
    assert not (tmp_path / "out").exists() and whole(home)


def test_bytes_that_are_not_those_declared_end_with_6(typed: Callable[..., tuple[int, str]], home: Path, tmp_path: Path) -> None:
    typed("corpus", "add", str(texts(tmp_path / "good", 12)), "--style", "tales", *GIVEN)
    stored = next((home / "sources").glob("*/files/*"))
    stored.write_text("changed")
    params = parameters(tmp_path / "params.yaml", "tales")
    code, line = typed("stage", "corpus", "--style", "tales", "--params", str(params), "--out", str(tmp_path / "out"))
    assert code == 6 and str(stored) in line and "missing or changed" in line
    assert not (tmp_path / "out").exists() and whole(home)


def test_a_model_folder_without_a_tokenizer_is_refused_before_anything_runs(
    typed: Callable[..., tuple[int, str]], home: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model_dir.iterdir():
        if not path.name.startswith("tokenizer"):
            (folder / path.name).write_bytes(path.read_bytes())
    for command in (["run", "--dry-run"], ["stage", "model"]):
        code, line = typed(*command, "--model", str(folder))
        assert code == 2 and "has no tokenizer" in line, command
    assert whole(home)


def test_ctrl_c_while_a_text_is_fetched_ends_with_130_and_the_next_try_goes_on(home: Path, tmp_path: Path) -> None:
    """A server that hangs in the middle of a file; nothing but the wish to stop ends the command."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        entry = {
            "name": "slow", "kind": "url", "description": "x", "licence": "CC0-1.0", "consent": "own", "author": "me",
            "package": f"http://127.0.0.1:{hanging.getsockname()[1]}/book.txt", "sha256": "0" * 64,
        }  # fmt: skip
        (home / "sources").mkdir(parents=True)
        (home / "styles").mkdir()
        (home / "sources" / "slow.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in entry.items()))
        (home / "styles" / "tales.toml").write_text('name = "tales"\ndescription = "x"\nsources = ["slow"]\n')
        params = parameters(tmp_path / "params.yaml", "tales")
        command = ["stage", "corpus", "--style", "tales", "--params", str(params), "--out", str(tmp_path / "out")]
        process = subprocess.Popen(
            [sys.executable, "-m", "timbre.cli", *command], stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
        )
        hanging.settimeout(120)
        connection, _ = hanging.accept()  # it is fetching now, and holds the locks of download and build
        with connection:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "timbre: interrupted; run the same command again to go on where it stopped"
    assert whole(home) and not (tmp_path / "out").exists()
    began = time.monotonic()
    again = subprocess.run([sys.executable, "-m", "timbre.cli", *command], capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 2 and "is not in downloads and could not be read" in again.stderr, "no lock was left behind"
    assert time.monotonic() - began < 100
