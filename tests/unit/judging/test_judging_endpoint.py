"""Judges behind an address: a real server on this machine that is biased on purpose, busy, broken or strict."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.judging.server import Says, first, longer, prefers, serving
from timbre.judging.endpoint import EndpointJudge
from timbre.judging.figures import JudgeReport, agreement, judge_report
from timbre.judging.pairs import Pair
from timbre.judging.queries import Judgements, Verdicts, query_judges
from timbre.judging.question import read_choice

KEY = "sk-very-secret-0123456789"


def judge(address: str, **settings: Any) -> EndpointJudge:
    slept = settings.pop("slept", [])
    return EndpointJudge(settings.pop("name", "scripted"), address, "scripted", **({"sleep": slept.append} | settings))


def queried_pairs(pairs: list[Pair], answer: Any, path: Path, **settings: Any) -> tuple[Verdicts, JudgeReport]:
    with serving(answer) as server:
        (verdicts,) = query_judges(pairs, [judge(server.address, **settings)], Judgements(path))
    return verdicts, judge_report(verdicts)


def test_a_judge_who_always_takes_the_first_has_position_bias_one_and_prefers_nobody(pairs: list[Pair], tmp_path: Path) -> None:
    _, report = queried_pairs(pairs, first, tmp_path / "kept.jsonl")
    assert report.order_decided is not None and report.win_rate is not None and report.twice_win_rate is not None
    assert (report.order_decided.value, report.first_place, report.second_place) == (1.0, 1.0, 0.0)
    assert report.order_decided.low is not None and report.order_decided.low > 0.6 and report.order_decided.high == 1.0
    assert (report.win_rate.value, report.twice_win_rate.value, report.ties) == (0.5, 1.0, 24)


def test_a_judge_who_prefers_one_side_is_seen_and_is_not_taken_for_one_who_likes_length(pairs: list[Pair], tmp_path: Path) -> None:
    _, report = queried_pairs(pairs, prefers("quiet"), tmp_path / "kept.jsonl")
    assert report.win_rate is not None and report.order_decided is not None and report.longer_preferred is not None
    assert (report.win_rate.value, report.wins, report.order_decided.value) == (1.0, 24, 0.0)
    assert report.win_rate.low is not None and 0.6 < report.win_rate.low < 1 and report.win_rate.clusters == 12
    assert report.longer_preferred.value == pytest.approx(0.5)


def test_a_judge_who_likes_length_is_seen(pairs: list[Pair], tmp_path: Path) -> None:
    _, report = queried_pairs(pairs, longer, tmp_path / "kept.jsonl")
    assert report.longer_preferred is not None and report.longer_preferred.value == 1.0
    assert report.order_decided is not None and report.order_decided.value == 0.0


def test_judges_who_agree_and_judges_who_do_not(pairs: list[Pair], tmp_path: Path) -> None:
    def coin(question: str) -> str:
        return ("A", "B", "tie")[sum(question.encode()) * 7919 % 3]

    with serving(prefers("quiet")) as one, serving(longer) as two, serving(longer) as three, serving(coin) as four:
        judges = [judge(server.address, name=name) for server, name in ((one, "side"), (two, "long"), (three, "longer"), (four, "coin"))]
        verdicts = query_judges(pairs, judges, Judgements(tmp_path / "kept.jsonl"))
    alike, apart = agreement(verdicts[1:3]), agreement([verdicts[1], verdicts[3]])
    assert alike is not None and alike.alpha is not None and (alike.alpha.value, alike.same) == (1.0, 1.0)
    assert apart is not None and apart.alpha is not None and apart.alpha.low is not None and apart.alpha.low < 0.3 > apart.alpha.value
    same_side = agreement([verdicts[0], verdicts[0]])
    assert same_side is not None and same_side.alpha is None and same_side.same == 1.0  # all answers alike: no variety to agree on
    assert agreement(verdicts[:1]) is None


def test_what_is_no_answer_is_counted_and_leaves_the_figures(pairs: list[Pair], tmp_path: Path) -> None:
    replies: dict[str, Says] = {
        "number 0": "A is the better one, I think", "number 1": (200, {}, "<html>sign in</html>"), "number 2": (200, {}, '{"choices": []}'),
        "number 3": (400, {}, "too long"), "number 4": "<think>A\nB</think>\n**Answer: B.**",
    }  # fmt: skip

    def answer(question: str) -> Says:
        return next((said for name, said in replies.items() if f"{name}\n" in question or f"{name} " in question), "tie")

    verdicts, report = queried_pairs(pairs, answer, tmp_path / "kept.jsonl")
    assert (report.pairs, report.answered) == (24, 20)
    assert report.no_answer == {"neither A, B nor tie": 2, "not the chat form": 4, "refused": 2}
    assert "only 20 of 24" in report.warnings[0]
    assert (verdicts.judged[4].ab, verdicts.judged[4].ba) == ("second", "second")
    assert report.order_decided is not None and report.order_decided.value == pytest.approx(1 / 20)


def test_busy_servers_are_asked_again_and_wait_as_long_as_they_say(pairs: list[Pair], tmp_path: Path) -> None:
    busy: list[Says] = [(429, {"Retry-After": "7"}, "slow down"), (503, {}, ""), (500, {"Retry-After": "soon"}, "")]
    slept: list[float] = []
    _, report = queried_pairs(pairs[:2], lambda _: busy.pop(0) if busy else "A", tmp_path / "kept.jsonl", slept=slept, parallel=1)
    assert slept == [7.0, 2.0, 4.0] and report.answered == 2


def test_a_server_that_stays_silent_ends_the_run_with_a_sentence(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did not answer in 3 tries.*HTTP 503"):
        queried_pairs(pairs, lambda _: (503, {}, "out"), tmp_path / "kept.jsonl", tries=3)
    with pytest.raises(ValueError, match=r"tries .ConnectError"):
        judge("http://127.0.0.1:9/v1", tries=2).reply_to("?")


def test_a_slow_server_is_a_timeout_and_not_forever(tmp_path: Path) -> None:
    import threading

    hold = threading.Event()

    def answer(_: str) -> str:
        hold.wait(20)
        return "A"

    with serving(answer) as server:
        with pytest.raises(ValueError, match="ReadTimeout"):
            judge(server.address, tries=1, timeout_seconds=0.2).reply_to("?")
        hold.set()


def test_a_request_that_never_fits_ends_early_and_a_wrong_key_at_once(pairs: list[Pair], tmp_path: Path) -> None:
    with serving(lambda _: (400, {}, "max_tokens is not supported")) as server:
        with pytest.raises(ValueError, match=r"refused the first 8 questions.*max_tokens is not supported"):
            query_judges(pairs, [judge(server.address, parallel=1)], Judgements(tmp_path / "kept.jsonl"))
        assert len(server.questions) == 8
    with serving(lambda _: (401, {}, "who are you")) as server:
        with pytest.raises(ValueError, match="HTTP 401: who are you"):
            query_judges(pairs, [judge(server.address, parallel=1)], Judgements(tmp_path / "kept.jsonl"))
        assert len(server.questions) == 1


def test_the_key_is_sent_and_stands_nowhere_else(pairs: list[Pair], tmp_path: Path) -> None:
    def echo(question: str) -> Says:
        return (400, {}, f"bad key {KEY}") if "number 1\n" in question else f"{KEY}\nA"

    kept = tmp_path / "kept.jsonl"
    with serving(echo) as server:
        with_key = judge(server.address, key=KEY)
        query_judges(pairs, [with_key], Judgements(kept))
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        assert not any(KEY in json.dumps(body) for body in server.bodies)
    assert KEY not in kept.read_text() + repr(with_key) + json.dumps(with_key.identity) and "***" in kept.read_text()
    with serving(lambda _: (403, {}, f"{KEY} is not allowed")) as server, pytest.raises(ValueError, match="403") as refusal:
        judge(server.address, key=KEY).reply_to("?")
    assert KEY not in str(refusal.value)


def test_a_redirect_does_not_carry_the_key_along(tmp_path: Path) -> None:
    with serving(first) as elsewhere, serving(lambda _: (307, {"Location": elsewhere.address + "/chat/completions"}, "")) as server:
        with pytest.raises(ValueError, match="HTTP 307"):
            judge(server.address, key=KEY).reply_to("?")
        assert elsewhere.questions == []


def test_a_key_is_not_sent_in_the_clear_nor_to_a_proxy(monkeypatch: pytest.MonkeyPatch, pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use https"):
        judge("http://judge.example/v1", key=KEY)
    with pytest.raises(ValueError, match="holds a password") as refusal:
        judge("https://me:hush@judge.example/v1")
    assert "hush" not in str(refusal.value)
    with pytest.raises(ValueError, match="no header takes") as refusal:
        judge("https://judge.example/v1", key=KEY + "\n")
    assert KEY not in str(refusal.value)
    for address in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8/v1", "https://judge.example/v1"):
        assert judge(address, key=KEY).base_url == address
    for address in ("ftp://host/v1", "https:///v1", "host/v1", "https://host/v1?key=1"):
        with pytest.raises(ValueError, match="looks like https"):
            judge(address)
    with serving(first) as proxy, serving(first) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        monkeypatch.setenv("ALL_PROXY", proxy.address)
        assert judge(server.address, key=KEY).reply_to("?").choice == "first" and proxy.questions == []


def test_fields_of_the_request_can_be_changed_and_are_part_of_who_the_judge_is() -> None:
    with serving(first) as server:
        changed = judge(server.address, request={"max_tokens": None, "max_completion_tokens": 9})
        changed.reply_to("?")
        assert server.bodies[0].keys() == {"model", "messages", "temperature", "max_completion_tokens"}
    assert changed.identity != judge(server.address).identity


def test_questions_are_spaced_where_a_rate_is_given() -> None:
    slept: list[float] = []
    with serving(first) as server:
        slow = judge(server.address, per_minute=2, slept=slept)
        for _ in range(3):
            slow.reply_to("?")
    assert len(slept) == 2 and 29 < slept[0] <= 30 and 58 < slept[1] <= 60


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("A", "first"), (" b. ", "second"), ("**Tie**", "tie"), ("Answer: B", "second"), ("Both are fine.\n\nFinal verdict: A", "first"),
        ("Text B", "second"), ("<think>B B B</think>A", "first"), ("“A”", "first"),
        ("The answer is B.", "second"), ("The better text is clear.\n\n**The answer is: A**", "first"), ("It's a tie.", "tie"),
        ("Text B is better.", "second"), ('{"answer": "B"}', "second"), ("### Verdict: **B**", "second"), ("(B)", "second"),
        ('```json\n{"reasoning": "A is fine", "answer": "tie"}\n```', "tie"), ("I choose A.", "first"),
        ("My final answer is text B", "second"), ("$\\boxed{A}$", "first"), ("<think>The answer is A.</think>\n**B**", "second"),
        ("<think>The answer is A.\nA", None), ('{"A": "good", "B": "better"}', None), ('{"reasoning": "B"}', None),
        ("<reasoning>B</reasoning>", None), ('{"answer": "A", "winner": "B"}', None), ("The answer is not B.", None),
        ("After careful consideration, I believe that Text A is better written.", "first"), ("I'd go with B.", "second"),
        ("The better text is B.", "second"), ("I prefer Text A over Text B.", "first"), ("The answer is B because A drags.", "second"),
        ("Answer: B. Text A is dull.", "second"), ("**B**\n\nReason: A is clumsy.", "second"), ("<answer>B</answer>", "second"),
        ("{'answer': 'B'}", "second"), ('{"better_text": "A"}', "first"), ("Both are equal, so tie.", "tie"), ("Answer: A\n\n---", "first"),
        ("<|channel|>analysis<|message|>A is fine<|end|><|start|>assistant<|channel|>final<|message|>B", "second"),
        ("<|channel|>analysis<|message|>The answer is A", None), ("**Text A**\n\nis vivid.\n\n**Text B**\n\nis flat.", None),
        ("A:\n\nis vivid", None), ("A\n\nWait, B is clearer.", None), ("The answer is A. However, B", None),
        ("In rhythm, Text A is better.", None), ("A is better", None), ("", None),
        ("A or B", None), ("AB", None), ("neither", None), ("A\nbut then B is good too", None),
    ],
)  # fmt: skip
def test_only_a_plain_answer_is_one(said: str, choice: str | None) -> None:
    assert read_choice(said) == choice
