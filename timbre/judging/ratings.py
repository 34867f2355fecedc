"""What people answered in a blind study: files checked, sides put back, exact intervals, agreement between raters."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timbre.artifacts import IntegrityError, digest_json
from timbre.judging.figures import Figure
from timbre.judging.study import SCALES
from timbre.statistics import Interval, bootstrap_interval, clopper_pearson, clustered_proportion, krippendorff_alpha

_CHOICES = ("first", "second", "tie")
_STEPS = (1, 2, 3, 4, 5)
Answer = str | dict[str, int]
Row = dict[str, Any]


@dataclass(frozen=True)
class Rated:
    """One rater's answers to every item of a study: a choice, or a value of each scale."""

    file: str
    study: str
    kind: str
    rater: str
    answers: Mapping[str, Answer]


def read_key(path: Path) -> Row:
    """The key of a study.

    Raises:
        ValueError: no such file, or not a key.
        IntegrityError: it was changed after it was written.
    """
    key = _json(path)
    if not isinstance(key, dict) or not {"studies", "names", "check"} <= key.keys():
        raise ValueError(f"{path} is not the key of a study: give the key.json that `timbre judge export` wrote")
    if key.pop("check") != digest_json(key):
        raise IntegrityError(f"{path} was changed after the export: which side is which can no longer be told from it")
    return key


def read_ratings(paths: Sequence[Path], key: Mapping[str, Any]) -> list[Rated]:
    """The answers of several files (JSON or CSV), each of them complete.

    Raises:
        ValueError: a file that cannot be read, belongs to another study, lacks answers or holds strange ones, or a rater
            whose answers to one study come twice. The sentence names the file.
    """
    found: list[Rated] = []
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        rated = _from_csv(path) if path.suffix.lower() == ".csv" else _from_json(path)
        _check(rated, key)
        owner = (rated.study, rated.rater.casefold())
        if owner in seen:
            raise ValueError(f"{path}: {rated.rater!r} has rated this study already, in {seen[owner]}: give one file of each rater")
        seen[owner] = str(path)
        found.append(rated)
    if not found:
        raise ValueError("no ratings were given: name the files that raters sent back")
    return found


def ratings_report(rated: Sequence[Rated], key: Mapping[str, Any]) -> Row:
    """Figures of each kind of study that was rated, "pairs" and "form"; A and B are what `names` says."""
    report: Row = {"names": dict(zip("AB", key["names"], strict=True))}
    for study, entry in key["studies"].items():
        ours = sorted((one for one in rated if one.study == study), key=lambda one: one.rater)
        if ours:
            report[entry["kind"]] = _pairs(ours, entry["items"]) if entry["kind"] == "pairs" else _form(ours, entry["items"])
    return report


def _pairs(rated: Sequence[Rated], items: Mapping[str, Row]) -> Row:
    """Preferences for A. Ties are left out of the exact intervals and count half in `win_rate`."""
    names = list(items)
    clusters = [items[name]["cluster"] for name in names]
    scores = {one.rater: [_score(one.answers[name], items[name]["first"]) for name in names] for one in rated}
    rows = [list(row) for row in zip(*scores.values(), strict=True)]
    majority = [(sum(row) > len(row) / 2) - (sum(row) < len(row) / 2) for row in rows]
    flat = [(score, cluster) for row, cluster in zip(rows, clusters, strict=True) for score in row]
    rate = clustered_proportion([score for score, _ in flat], [cluster for _, cluster in flat])
    shown_first = [one.answers[name] for one in rated for name in names]
    return {
        "pairs": len(names),
        "raters": {rater: _preference(own.count(1.0), own.count(0.5), own.count(0.0)) for rater, own in scores.items()},
        "majority": _preference(majority.count(1), majority.count(0), majority.count(-1)),
        "win_rate": _row(rate),
        "twice_win_rate": _row(rate, 2.0),
        "first_place": _preference(shown_first.count("first"), shown_first.count("tie"), shown_first.count("second")),
        "agreement": _row(krippendorff_alpha(rows, "ordinal", clusters)) if len(rated) > 1 else None,
    }


def _form(rated: Sequence[Rated], items: Mapping[str, Row]) -> Row:
    """Means of each scale and side, the difference A − B over pairs, and agreement."""
    names = list(items)
    scales: Row = {}
    for scale in SCALES:
        rows = [[float(one.answers[name][scale]) for one in rated] for name in names]  # type: ignore[index]
        mean = {name: sum(row) / len(row) for name, row in zip(names, rows, strict=True)}
        by_pair: dict[str, dict[str, str]] = {}
        for name in names:
            by_pair.setdefault(items[name]["pair"], {})[items[name]["side"]] = name
        apart = {pair["A"]: mean[pair["A"]] - mean[pair["B"]] for pair in by_pair.values()}
        sides = {side: [name for name in names if items[name]["side"] == side] for side in "AB"}
        clusters = [items[name]["cluster"] for name in names]
        scales[scale] = {
            **{
                side: _row(bootstrap_interval([mean[name] for name in own], [items[name]["cluster"] for name in own]))
                for side, own in sides.items()
            },
            "difference": _row(bootstrap_interval(list(apart.values()), [items[name]["cluster"] for name in apart])),
            "raters": {one.rater: sum(row[number] for row in rows) / len(rows) for number, one in enumerate(rated)},
            "agreement": _row(krippendorff_alpha(rows, "ordinal", clusters)) if len(rated) > 1 else None,
        }
    return {"texts": len(names), "raters": [one.rater for one in rated], "scales": scales}


def _preference(wins: int, ties: int, losses: int) -> Row:
    """Share of A among decided answers with its exact interval; None where nothing was decided."""
    decided = wins + losses
    low, high = clopper_pearson(wins, decided) if decided else (0.0, 1.0)
    return {"wins": wins, "ties": ties, "losses": losses, "share": wins / decided if decided else None, "low": low, "high": high}


def _score(answer: Answer, first: str) -> float:
    if answer == "tie":
        return 0.5
    return float((answer == "first") == (first == "A"))


def _row(interval: Interval | None, factor: float = 1.0) -> Row | None:
    return asdict(Figure.of(interval, factor)) if interval is not None else None


def _check(rated: Rated, key: Mapping[str, Any]) -> None:
    entry = key["studies"].get(rated.study)
    if entry is None:
        raise ValueError(f"{rated.file}: its study {rated.study[:12] or '(none)'} is not in this key; each export has a key of its own")
    if entry["kind"] != rated.kind:
        raise ValueError(f"{rated.file}: calls itself {rated.kind!r}, and its study is {entry['kind']!r}")
    if not rated.rater.strip():
        raise ValueError(f"{rated.file}: names no rater")
    if strange := rated.answers.keys() - entry["items"].keys():
        raise ValueError(f"{rated.file}: rates {len(strange)} items that the study does not hold, {min(strange)!r} among them")
    if missing := entry["items"].keys() - rated.answers.keys():
        raise ValueError(f"{rated.file}: {len(missing)} of {len(entry['items'])} answers are missing; {rated.rater} has not finished")
    for name, answer in rated.answers.items():
        good = answer in _CHOICES if isinstance(answer, str) else rated.kind == "form" and all(answer[scale] in _STEPS for scale in SCALES)
        if not good or (rated.kind == "form") == isinstance(answer, str):
            raise ValueError(f"{rated.file}: item {name} is answered with {answer!r}; known are {', '.join(_CHOICES)}, or 1 to 5")


def _from_json(path: Path) -> Rated:
    tree = _json(path)
    try:
        rows = [{str(name): value for name, value in row.items()} for row in tree["ratings"]]
        return _rated(path, str(tree["study"]), str(tree["kind"]), str(tree["rater"]), rows)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no ratings: give the file that the page saved") from error


def _from_csv(path: Path) -> Rated:
    try:
        rows: list[Row] = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        heads = {(row["study"], row["kind"], row["rater"]) for row in rows}
        if len(heads) != 1:
            raise ValueError(f"{path}: expected one study and one rater, found {len(heads)}")
        for row in rows:
            row |= {scale: int(row[scale]) for scale in SCALES if row.get(scale, "").isdigit()}
        return _rated(path, *heads.pop(), rows)
    except (LookupError, TypeError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} holds no ratings: give the file that the page saved") from error


def _rated(path: Path, study: str, kind: str, rater: str, rows: Sequence[Row]) -> Rated:
    answers: dict[str, Answer] = {}
    for row in rows:
        name = str(row["id"])
        if name in answers:
            raise ValueError(f"{path}: item {name} is rated twice")
        answers[name] = str(row["choice"]) if kind == "pairs" else {scale: row[scale] for scale in SCALES}
    return Rated(str(path), study, kind, rater.strip(), answers)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
