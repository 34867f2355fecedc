"""A stage in a process group of its own: its exit code comes back as the error it was, and nothing of it outlives it."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from timbre.artifacts import IntegrityError


def _says(code: int, *words: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; print('noise'); sys.stderr.write({chr(10).join(words)!r}); sys.exit({code})"]


def test_exit_codes_of_a_stage_come_back_as_the_errors_they_were() -> None:
    from timbre.tasks.stage import run_command

    run_command(_says(3, "timbre: no"), accepted=(0, 3))
    with pytest.raises(ValueError, match=r"^the text is empty$"):
        run_command(_says(2, "loading", "timbre: the text is empty", "a late warning"))
    with pytest.raises(IntegrityError, match=r"^damaged$"):
        run_command(_says(6, "timbre: damaged"))
    with pytest.raises(RuntimeError, match="exit code 1"):
        run_command(_says(1, "Traceback"))


def test_what_a_stage_started_ends_with_it(tmp_path: Path) -> None:
    from timbre.tasks.stage import run_command

    note = tmp_path / "child"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600'], start_new_session=True, stderr=subprocess.DEVNULL);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); sys.exit(6)"
    )
    with pytest.raises(IntegrityError):
        run_command([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while _runs(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(note.read_text()))


def test_a_corpus_that_the_registry_had_lost_says_how_long_it_took_to_put_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact stands in the store, the registry has not seen it: a build of the registry, and no cached step."""
    from timbre.artifacts import ArtifactStore, Stage
    from timbre.config import Frozen, ReleaseConfig
    from timbre.tasks import data

    artifact = ArtifactStore(home).build(
        Stage("corpus", 1, lambda _config, _inputs, work: (work.output / "x").write_text("x")), Frozen(), {}
    )  # type: ignore[arg-type, return-value]
    asked = []

    class Registry:
        def is_current(self, *_: object) -> bool:
            return False

        def build(self, stage: str, *_: object, **__: object) -> object:
            asked.append(stage)
            return artifact

    clock = iter((10.0, 13.5))
    monkeypatch.setattr(data, "find", lambda *_: artifact)
    monkeypatch.setattr(data.DataRegistry, "open", lambda _: Registry())
    monkeypatch.setattr(data, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    state = data.run_data_stage("corpus", ReleaseConfig())
    built = state.result()
    assert isinstance(built, data.Built)
    assert (built.digest, built.cached, built.seconds, asked) == (artifact.digest, False, 3.5, ["corpus"])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
