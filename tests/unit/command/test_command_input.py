"""What a person types: nothing is ignored in silence, and a mistake is one sentence with its exit code."""

import errno
import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.errors import explain
from timbre.settings import settings


def typed(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_options_beside_a_config_file_are_refused_by_name(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "release.json"
    config.write_text("{}")
    for command in (["run"], ["stage", "train"]):
        done = typed(*command, "--config", str(config), "--style", "oratory", "--set", "target.alpha=1")
        assert isinstance(done.exception, ValueError)
        sentence, code = explain(done.exception)
        assert code == 2 and "--style, --set would be ignored" in sentence
    assert isinstance(typed("run", "--gpu-hour-price", "2").exception, ValueError)


def test_the_plan_says_its_cost_at_the_price_of_an_hour(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cost" not in json.loads(typed("run", "--dry-run", "--json").output)
    monkeypatch.setenv("TIMBRE_HOUR_PRICE", "36")
    settings.cache_clear()
    planned = json.loads(typed("run", "--dry-run", "--json").output)
    assert planned["cost"] == pytest.approx(planned["seconds"] / 100, rel=0.01)
    assert "at 36 an hour" in typed("run", "--dry-run").output
    asked = json.loads(typed("run", "--dry-run", "--json", "--gpu-hour-price", "72").output)
    assert asked["cost"] == pytest.approx(2 * planned["cost"])


def test_files_that_no_reader_knows_are_counted_and_named(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.pages", "c.pages", "d.key", "README", ".hidden.pdf"):
        (folder / name).write_text("Call me Ishmael. " * 20)
    done = typed("corpus", "add", str(folder), "--style", "sea", "--author", "me", "--licence", "CC0-1.0")
    assert done.exit_code == 0 and "skipped 2 files whose endings no reader knows: .key (1), none (1)" in done.output
    answer = json.loads(typed("corpus", "add", str(folder), "--style", "sea", "--author", "me", "--licence", "CC0-1.0", "--json").output)
    assert answer["skipped"] == {".key": 1, "none": 1} and "a Pages document: export it as .docx" in done.output


def test_a_file_or_field_that_is_wrong_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text('{"styl": "literary"}')
    (tmp_path / "within.json").write_text('{"target": {"folds": 3}}')
    for name, words in (
        ("bad.json", "bad.json is not JSON"),
        ("none.json", "none.json: no such file"),
        ("odd.json", "styl: no such field; near it: style"),
        ("within.json", "target.folds: no such field; known are admission_tokens, alpha, "),
    ):
        done = typed("run", "--dry-run", "--config", str(tmp_path / name))
        assert done.exception is not None
        sentence, code = explain(done.exception)
        assert code == 2 and words in sentence


def test_a_full_disk_is_the_one_that_was_written_to(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    sentence, code = explain(OSError(errno.ENOSPC, "No space left on device", "/etc/source.txt", None, str(tmp_path / "to" / "copy.txt")))
    assert code == 2 and sentence.startswith(f"the disk is full under {tmp_path / 'to'} (")


def test_a_value_error_that_is_a_bug_shows_where_it_was_raised_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        int("x")
    except ValueError as error:
        assert explain(error)[1] == 2 and capsys.readouterr().err == ""
        monkeypatch.setenv("TIMBRE_DEBUG", "1")
        explain(error)
    assert "test_command_input.py" in capsys.readouterr().err


def test_moving_looking_and_generating_need_no_prefect() -> None:
    code = "import sys, timbre.tasks.promotion, tasks.overview, tasks.bundles, tasks.runs; print({'prefect', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_second_run_is_refused_whoever_starts_it_and_a_run_may_call_the_flow(home: Path) -> None:
    from timbre.tasks.runs import only_run

    with only_run(home), only_run(home):  # `timbre run` takes it, then the flow that it calls
        assert "process" in (home / "run.json").read_text()
        with (home / "run.lock").open("r+") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (home / "run.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (home / "run.json").write_text("process 7, since 03:00:00")
        with pytest.raises(ValueError, match=r"going on already \(process 7, since 03:00:00\)"), only_run(home):
            raise AssertionError("two runs at once")


def test_a_server_that_answers_for_another_home_is_not_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import os
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    import psutil

    from timbre.settings import settings
    from timbre.tasks.environment import prepare, running_server, server_file

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home.mkdir(parents=True)
    url = f"http://127.0.0.1:{server.server_port}"
    started = psutil.Process().create_time()
    ours = {"prefect": url, "mlflow": url, "process": "1", "home": str(home.resolve()), "processes": {str(os.getpid()): started}}
    for changes, found in (({}, True), ({"home": str(tmp_path)}, False), ({"processes": {str(os.getpid()): started - 60}}, False)):
        server_file(home).write_text(json.dumps(ours | changes))
        assert (running_server(home) is not None) == found
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prepare(settings())
    assert "PREFECT_API_URL" not in os.environ
    assert "going on without them" in capsys.readouterr().err
    server.shutdown()


def test_a_scheduled_run_beside_another_fails_with_the_sentence_and_touches_nothing(home: Path) -> None:
    from timbre.flows.release import release_flow

    home.mkdir(parents=True)
    with (home / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (home / "run.json").write_text("process 7, since 03:00:00")
        with pytest.raises(ValueError, match=r"going on already \(process 7, since 03:00:00\)"):
            release_flow.fn()
    assert {path.name for path in home.iterdir()} == {"run.lock", "run.json"}


def test_an_unknown_style_is_refused_with_the_known_ones_wherever_it_is_asked_for(home: Path) -> None:
    for command in (["history"], ["generate", "It was"], ["promote", "1"], ["rollback"], ["compare", "2", "1"], ["run", "--dry-run"]):
        done = typed(*command, "--style", "nope")
        assert isinstance(done.exception, ValueError), command
        sentence, code = explain(done.exception)
        assert code == 2 and "unknown style 'nope'" in sentence and "literary" in sentence
    calibrated = typed("evaluate", str(home), "--against", str(home), "--calibration", "nope").exception
    assert isinstance(calibrated, ValueError) and "unknown style 'nope'" in explain(calibrated)[0]


def test_a_style_with_little_text_is_told_what_will_come_of_it(home: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    add = ("corpus", "add", str(texts), "--style", "notes", "--author", "me", "--licence", "CC0-1.0")
    for number in range(19):
        (texts / f"{number}.txt").write_text(f"Note {number}: call me Ishmael. " * 20)
    lines = typed(*add).output.splitlines()
    said = " ".join(lines)
    assert "'notes' kept so far: 19; from 20 on" in said and "INCONCLUSIVE" in said and "kept so far: 1,900; from about 8,500" in said
    assert max(map(len, lines[1:])) <= 80
    planned = json.loads(typed("run", "--dry-run", "--style", "notes", "--json").output)["warnings"]
    assert "about 1,852 training tokens are there and 16,384 are asked for" in planned[0]
    assert "documents there: about 19; the policy quick needs 5 held out, or the verdict is INCONCLUSIVE" in planned[1]
    more = tmp_path / "more"
    more.mkdir()
    (more / "20.txt").write_text("The twentieth note is about whales. " * 1200)
    again = json.loads(typed("corpus", "add", str(more), "--style", "notes", "--author", "me", "--licence", "CC0-1.0", "--json").output)
    assert (again["documents"], again["counted"], again["few"]) == (20, "brought", False)
    (texts / "short.txt").write_text("Too short.")
    (texts / "copy.txt").write_text((texts / "1.txt").read_text())
    alone = json.loads(typed(*add[:3], "--style", "alone", *add[5:], "--json").output)
    assert (alone["read"], alone["kept"], alone["documents"], alone["counted"]) == (21, 19, 19, "kept"), "what is left out does not count"
    unused = typed(*add[:3], "--style", "columns", *add[5:], "--text-column", "body", "--encoding", "utf-8", "--dry-run")
    assert "note: --text-column: not used, since no file here has rows" in unused.output


def test_a_negative_seed_is_refused(home: Path) -> None:
    done = typed("run", "--dry-run", "--seed", "-1")
    assert done.exception is not None and explain(done.exception)[1] == 2


def test_the_gpu_profile_says_that_no_gpu_is_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbre.pipeline.plan._has_gpu", lambda: False)
    planned = json.loads(typed("run", "--dry-run", "--profile", "gpu", "--json").output)
    quick = json.loads(typed("run", "--dry-run", "--json").output)
    assert any("no CUDA device" in warning for warning in planned["warnings"]) and not quick["warnings"]
    assert planned["memory_gib"] > 2 * quick["memory_gib"]
    assert " h, peak memory" in typed("run", "--dry-run", "--profile", "gpu").output


def test_texts_added_to_one_style_at_once_all_arrive(home: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"text-{number}.txt" for number in range(4)]
    for file in files:
        file.write_text(f"{file.stem}: call me Ishmael. " * 30)
    run = [sys.executable, "-m", "timbre.cli", "corpus", "add"]
    given = ["--style", "crowd", "--author", "me", "--licence", "CC0-1.0"]
    started = [subprocess.Popen([*run, str(file), *given], stdout=subprocess.DEVNULL) for file in files]
    assert [process.wait() for process in started] == [0, 0, 0, 0]
    from timbre.corpus.sources import find_style

    assert sorted(find_style("crowd", home)[1].sources) == [f"crowd-text-{number}" for number in range(4)]


def test_doctor_tells_a_build_that_goes_on_from_one_that_was_cut_off(home: Path) -> None:
    from filelock import FileLock

    for key in ("a" * 64, "b" * 64):
        (home / "work" / key).mkdir(parents=True)
    with FileLock(home / "work" / f"{'a' * 64}.lock", is_singleton=False):
        holder = subprocess.run(
            [sys.executable, "-m", "timbre.cli", "doctor", "--json"], capture_output=True, text=True, check=True
        )  # another process, as a person would
    found = json.loads(holder.stdout)
    assert (found["live"], found["unfinished"]) == (["a" * 12], ["b" * 12])


def test_a_version_is_not_compared_with_itself(home: Path) -> None:
    done = typed("compare", "1", "1")
    assert isinstance(done.exception, ValueError)
    sentence, code = explain(done.exception)
    assert code == 2 and "no comparison with itself" in sentence
