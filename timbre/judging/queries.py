"""Every question asked once, in both orders, each answer kept in a file as it comes: a killed run asks nothing twice."""

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from timbre.artifacts import IntegrityError, digest_json
from timbre.judging.pairs import Pair
from timbre.judging.question import CRITERION, ORDERS, Choice, Judge, Order, Reply, question_text
from timbre.progress import SILENT, Progress

_ALL_REFUSED = 8
"""So many refused questions at the start of a run, and nothing else, end it: something is wrong with how the judge is asked."""


@dataclass(frozen=True)
class Judged:
    """What a judge chose about a pair with A shown first, and with B shown first; None is "no answer"."""

    pair: Pair
    ab: Choice | None
    ba: Choice | None


@dataclass(frozen=True)
class Verdicts:
    """A judge's answers to all pairs, and how many questions were asked now rather than found in the file."""

    judge: str
    judged: list[Judged]
    queried: int
    reasons: Mapping[str, int]
    """Why there was no answer, and how often."""
    models: Mapping[str, int]
    """Which models an endpoint says it served, and how often."""


class Judgements:
    """A JSONL file with one answer a line: {"key", "judge", "pair", "order", "answer", "reason", "detail"}, where
    "answer" is "first" or "second" of the two as they were shown, "tie", or null.

    The key is the hash of judge and question, so that an answer is found again for these texts, this order and this
    judge only. Holds no time and no secret.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        """
        Args:
            again: forget what got no answer, so that it is asked again.

        Raises:
            IntegrityError: a line that is not an answer; only the last one may be cut short, by a kill.
        """
        self._path = path
        self.known: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(_whole_lines(path), start=1):
            try:
                row = json.loads(line)
                key, answer = row["key"], row["answer"]
                broken = answer not in (*get_args(Choice), None)
            except (ValueError, LookupError, TypeError):
                broken = True
            if broken:
                raise IntegrityError(f"{path}: line {number} is not a judgement; remove the line, and it is asked again")
            if answer is None and again:
                self.known.pop(key, None)
            else:
                self.known[key] = row

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """A function that keeps an answer for good.

        Raises:
            ValueError: another run writes to the file.
        """
        from filelock import FileLock, Timeout

        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._path.with_name(f".{self._path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"{self._path}: another run is writing there; wait for it, or keep these answers elsewhere with --keep"
            ) from error
        try:
            _drop_cut_line(self._path)
            with self._path.open("a", encoding="utf-8") as stream:

                def keep(row: Mapping[str, Any]) -> None:
                    stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                    self.known[row["key"]] = dict(row)

                yield keep
        finally:
            lock.release()


@dataclass(frozen=True)
class _Question:
    key: str
    pair: Pair
    order: Order
    text: str


def query_judges(
    pairs: Sequence[Pair], judges: Sequence[Judge], kept: Judgements, *, criterion: str = CRITERION, progress: Progress = SILENT
) -> list[Verdicts]:
    """The answers of every judge to every pair in both orders; asked are only those that are not kept yet.

    Raises:
        ValueError: two judges are the same, or a judge cannot be asked.
    """
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names) or len({digest_json(judge.identity) for judge in judges}) < len(judges):
        raise ValueError("a judge is named twice: agreement with oneself says nothing")
    return [_judged(pairs, judge, kept, criterion, progress) for judge in judges]


def _judged(pairs: Sequence[Pair], judge: Judge, kept: Judgements, criterion: str, progress: Progress) -> Verdicts:
    identity = digest_json(judge.identity)
    questions = [
        _Question(digest_json([identity, text]), pair, order, text)
        for pair in pairs
        for order in ORDERS
        for text in (question_text(pair, order, criterion),)
    ]
    wanted = {question.key: question for question in questions}
    missing = [question for key, question in wanted.items() if key not in kept.known]
    if missing:
        with kept.writing() as keep:
            seen = refused = 0
            replies = _replies(judge, missing)
            for question, reply in progress.track(replies, judge.name, total=len(wanted), initial=len(wanted) - len(missing)):
                keep(_row(judge, question, reply))
                seen, refused = seen + 1, refused + reply.reason.startswith("refused")
                if seen == refused == _ALL_REFUSED:
                    replies.close()
                    raise ValueError(
                        f"{judge.name} refused the first {refused} questions ({reply.reason}): change the request, then --again"
                    )
    rows = [kept.known[question.key] for question in questions]
    judged = [Judged(pair, rows[2 * number]["answer"], rows[2 * number + 1]["answer"]) for number, pair in enumerate(pairs)]
    reasons = _counted(str(row.get("reason", "")).split(":")[0] for row in rows if row["answer"] is None)
    models = _counted(row["detail"]["model"] for row in rows if row.get("detail", {}).get("model"))
    return Verdicts(judge.name, judged, len(missing), reasons, models)


def _replies(judge: Judge, questions: Sequence[_Question]) -> Generator[tuple[_Question, Reply], None, None]:
    """Answers as they come, at most `judge.parallel` questions under way; closing it asks no further ones."""
    if judge.parallel <= 1:
        for question in questions:
            yield question, judge.reply_to(question.text)
        return
    waiting = iter(questions)
    with ThreadPoolExecutor(judge.parallel) as pool:
        running: dict[Future[Reply], _Question] = {}
        while True:
            for question in waiting:
                running[pool.submit(judge.reply_to, question.text)] = question
                if len(running) == judge.parallel:
                    break
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            failed: Exception | None = None
            for future in done:
                question = running.pop(future)
                try:
                    reply = future.result()
                except Exception as error:  # the answers beside it are kept first
                    failed = error
                    continue
                yield question, reply
            if failed is not None:
                for future in wait(running).done:  # and those under way: they may have been paid for
                    if future.exception() is None:
                        yield running[future], future.result()
                raise failed


def _row(judge: Judge, question: _Question, reply: Reply) -> dict[str, Any]:
    row = {"key": question.key, "judge": judge.name, "pair": question.pair.pair_id, "order": question.order, "answer": reply.choice}
    return row | {"reason": reply.reason, "detail": dict(reply.detail)}


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _whole_lines(path: Path) -> list[bytes]:
    """The lines that end; what follows the last line end was cut short by a kill."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _drop_cut_line(path: Path) -> None:
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
