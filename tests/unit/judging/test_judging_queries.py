"""Answers are kept as they come: whatever kills a run, nothing is asked twice. And the command as a person types it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.judging.server import first, prefers, serving
from timbre.artifacts import IntegrityError
from timbre.cli import app
from timbre.judging.endpoint import EndpointJudge
from timbre.judging.pairs import Pair, generated_texts, pair_texts
from timbre.judging.queries import Judgements, query_judges
from timbre.metrics.texts import Text


def judge(address: str, **settings: Any) -> EndpointJudge:
    return EndpointJudge(settings.pop("name", "scripted"), address, "scripted", **({"sleep": lambda _: None} | settings))


def typed(*arguments: object) -> Any:
    done = CliRunner().invoke(app, ["judge", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_killed_run_asks_nothing_twice(home: Path, sides: tuple[Path, Path], tmp_path: Path) -> None:
    kept, reached, go_on = tmp_path / "kept.jsonl", threading.Event(), threading.Event()

    def answer(question: str) -> str:
        if len(server.questions) == 18:
            reached.set()
            go_on.wait(60)
        return first(question)

    with serving(answer) as server:
        command = ["judge", "run", *sides, "--judge", f"{server.address}=scripted", "--keep", kept, "--parallel", "1", "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "timbre.cli", *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ),
        )
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        go_on.set()
        before = server.questions[:17]  # the 18th was never answered
        assert len(kept.read_text().splitlines()) == 17
        summary = json.loads(typed(*command[1:]).stdout)
        assert summary["queried"] == [48 - 17] and len(server.questions) == 18 + 48 - 17
        assert not set(before) & set(server.questions[18:]) and server.questions[17] in server.questions[18:]
        assert summary["judges"][0]["order_decided"]["value"] == 1.0
        again = json.loads(typed(*command[1:]).stdout)
        assert again["queried"] == [0] and len(server.questions) == 49
        assert {**again, "queried": 0} == {**summary, "queried": 0}


def test_a_run_that_dies_keeps_the_answers_under_way(pairs: list[Pair], tmp_path: Path) -> None:
    """Four at a time, one of them refused for good: the three beside it were answered, and are kept."""
    barrier = threading.Barrier(4)

    def answer(question: str) -> Any:
        number = len(server.questions)
        if number <= 4:
            barrier.wait(20)
        return (404, {}, "gone") if question == server.questions[0] else "A"

    with serving(answer) as server, pytest.raises(ValueError, match="HTTP 404: gone"):
        query_judges(pairs, [judge(server.address)], Judgements(tmp_path / "kept.jsonl"))
    known = Judgements(tmp_path / "kept.jsonl").known
    assert len(known) == len(server.questions) - 1 >= 3


def test_a_line_cut_short_is_asked_again_and_a_damaged_one_is_named(pairs: list[Pair], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    with serving(first) as server:
        query_judges(pairs[:3], [judge(server.address)], Judgements(kept))
        whole = kept.read_bytes()
        kept.write_bytes(whole[:-20])
        (verdicts,) = query_judges(pairs[:3], [judge(server.address)], Judgements(kept))
        assert verdicts.queried == 1 and len(server.questions) == 7
        assert sorted(kept.read_bytes().splitlines()) == sorted(whole.splitlines())
    for damage in (b'{"key": 1}', b"\xff\xfe", b'{"key": "k", "answer": "A"}', b"[]"):
        kept.write_bytes(damage + b"\n" + whole)
        with pytest.raises(IntegrityError, match="line 1 is not a judgement"):
            Judgements(kept)


def test_two_runs_do_not_write_to_one_file(pairs: list[Pair], tmp_path: Path) -> None:
    with serving(first) as server, Judgements(tmp_path / "kept.jsonl").writing():
        with pytest.raises(ValueError, match="another run is writing"):
            query_judges(pairs, [judge(server.address)], Judgements(tmp_path / "kept.jsonl"))
        assert server.questions == []


def test_another_text_judge_or_question_is_another_question(pairs: list[Pair], tmp_path: Path) -> None:
    kept = Judgements(tmp_path / "kept.jsonl")
    with serving(first) as server:
        query_judges(pairs[:1], [judge(server.address)], kept)
        query_judges(pairs[:1], [judge(server.address, request={"temperature": 1})], kept)
        query_judges(pairs[:1], [judge(server.address)], kept, criterion="Which one is a person's?")
        assert len(server.questions) == 6
        query_judges(pairs[:1], [judge(server.address, name="called otherwise", parallel=1)], kept)
        assert len(server.questions) == 6
        with pytest.raises(ValueError, match="named twice"):
            query_judges(pairs[:1], [judge(server.address), judge(server.address, name="the same")], kept)


def test_what_got_no_answer_is_asked_again_on_request(pairs: list[Pair], tmp_path: Path) -> None:
    kept, said = tmp_path / "kept.jsonl", ["dunno"]
    with serving(lambda _: said[0]) as server:
        query_judges(pairs[:2], [judge(server.address)], Judgements(kept))
        said[0] = "A"
        query_judges(pairs[:2], [judge(server.address)], Judgements(kept))
        assert len(server.questions) == 4
        (verdicts,) = query_judges(pairs[:2], [judge(server.address)], Judgements(kept, again=True))
        assert verdicts.queried == 4 and {one.ab for one in verdicts.judged} == {"first"}
    assert {row["answer"] for row in Judgements(kept, again=True).known.values()} == {"first"}


def test_command_reports_within_eighty_columns_and_hides_the_key(
    home: Path, sides: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-hidden-42")
    monkeypatch.chdir(tmp_path)
    with serving(prefers("quiet")) as one, serving(first) as two:
        judges = ["--judge", f"{one.address}=a", "--judge", f"{two.address}=b", "--key-from", f"{one.address}/=JUDGE_KEY"]
        done = typed("run", *sides, *judges, "--pairs", "20")
        assert one.headers[0]["Authorization"] == "Bearer sk-hidden-42" and "Authorization" not in two.headers[0]
    assert max(map(len, done.stdout.splitlines())) <= 80 and "sk-hidden" not in done.output + Path("judgements.jsonl").read_text()
    for words in (
        "20 of 24 pairs",
        "A preferred       1.00",
        "order decided     1.00",
        "agreement",
        "Never a sole gate",
        "queried now: 80",
    ):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--judge", "http://127.0.0.1:1/v1"), "local=FOLDER or URL=MODEL"),
        (("--judge", "http://127.0.0.1:1/v1=m", "--key-from", "http://127.0.0.1:1/v1=NOT_SET_HERE"), "NOT_SET_HERE, which is not set"),
        (("--judge", "http://127.0.0.1:1/v1=m", "--key-from", "http://127.0.0.1:1/v1=sk-123-456"), "the name of an environment variable"),
        (("--judge", "http://127.0.0.1:1/v1=m", "--key-from", "http://127.0.0.1:2/v1=HOME"), "no --judge has that address"),
        (("--judge", "http://127.0.0.1:1/v1=m", "--request", "{"), "--request is not JSON"),
        (("--judge", "http://127.0.0.1:1/v1=m", "--request", '{"messages": []}'), "further fields"),
        (("--judge", "local=nowhere/at-all/x"), "unknown model"),
    ],
)
def test_a_mistake_is_one_sentence(home: Path, sides: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        typed("run", *sides, *options, "--keep", tmp_path / "kept.jsonl")
    assert "sk-123" not in str(refusal.value)


def test_sides_that_are_no_texts_are_named(home: Path, sides: tuple[Path, Path], tmp_path: Path) -> None:
    for b, sentence in (("@human", "beside a registered version"), ("nowhere", "no such file"), (tmp_path / "x.jsonl", "no prompt has")):
        (tmp_path / "x.jsonl").write_text('{"prompt": "unknown", "text": "words"}\n')
        with pytest.raises(ValueError, match=sentence):
            typed("run", sides[0], b, "--judge", "http://127.0.0.1:1/v1=m", "--keep", tmp_path / "kept.jsonl")


def test_texts_are_paired_by_prompt_and_what_is_left_over_is_counted() -> None:
    a = [Text("one two three four", "d1", "p"), Text("five", "d1", "p"), Text("…", "d2", "q"), Text("alone", "d3", "r")]
    b = [Text("six seven", "p", "p"), Text("eight", "q", "q"), Text("nine", "s", "s")]
    found = pair_texts(a, b, most_words=3)
    assert [(pair.a, pair.b, pair.cluster, pair.prompt) for pair in found.pairs] == [
        ("one two three …", "six seven", "d1", "p"), ("five", "six seven", "d1", "p"),
    ]  # fmt: skip
    assert (found.alone, found.empty) == ((1, 1), 1) and len({pair.pair_id for pair in found.pairs}) == 2
    files = pair_texts([Text("x", "1.txt")], [Text("y", "1.txt")], 9)
    assert [(pair.a, pair.b, pair.cluster) for pair in files.pairs] == [("x", "y", "1.txt")]


def test_texts_of_an_evaluation_are_read_with_their_clusters() -> None:
    rows = [
        {"prompt_id": "p#0", "doc_id": "d", "kind": "style", "prompt": "It was", "human": "late.", "text": "dark."},
        {"prompt_id": "q#0", "cluster": "c", "kind": "style", "sample": 0, "prompt": "We", "human": "ran.", "text": "sat."},
        {"prompt_id": "q#0", "cluster": "c", "kind": "style", "sample": 1, "prompt": "We", "human": "ran.", "text": "fell."},
        {"prompt_id": "m#0", "doc_id": "d", "kind": "memorisation", "prompt": "And", "human": "then.", "text": "so."},
    ]
    own, human = generated_texts(rows, "text"), generated_texts(rows, "human")
    assert own == [Text("dark.", "d", "It was"), Text("sat.", "c", "We"), Text("fell.", "c", "We")]
    assert human == [Text("late.", "d", "It was"), Text("ran.", "c", "We")]
    assert [(pair.a, pair.b) for pair in pair_texts(own, human, 9).pairs] == [("dark.", "late."), ("sat.", "ran."), ("fell.", "ran.")]
