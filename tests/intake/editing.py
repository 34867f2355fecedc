"""A folder that is edited and added again."""

import os
import tempfile
import warnings
from pathlib import Path

from tests.intake.case import prose
from timbre.corpus import shelf
from timbre.corpus.adding import Added, Request, add
from timbre.corpus.changes import Changes


def faults_of_editing() -> dict[str, list[str]]:
    """What is wrong with each edit, by its name; an empty list where it is right."""
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        home, texts = Path(place, "home"), Path(place, "letters")
        texts.mkdir()
        for number in range(12):
            (texts / f"Letter {number} – final #{number}.txt").write_text("\n\n".join(prose(number)), encoding="utf-8")

        def put(what: str, changes: Changes, kept: int, rejected: int = 0) -> Added:
            added = add(Request(texts, "letters", "Ann", "own work"), home=home)
            told = (added.changes, added.summary.kept, added.summary.read - added.summary.kept)
            found[what] = [] if told == (changes, kept, rejected) else [f"{told} instead of {(changes, kept, rejected)}"]
            return added

        put("first time", Changes(12, 0, 0, 0), 12)
        put("again", Changes(0, 0, 0, 12), 12)
        (texts / "Letter 3 – final #3.txt").write_text("\n\n".join(prose(99)), encoding="utf-8")
        put("one changed", Changes(0, 1, 0, 11), 12)
        (texts / "日本の朝.txt").write_text("\n\n".join(prose(55)), encoding="utf-8")
        put("one new", Changes(1, 0, 0, 12), 13)
        (texts / "Letter 0 – final #0.txt").unlink()
        (texts / "Letter 1 – final #1.txt").rename(texts / "Erster Brief.txt")
        put("one gone, one renamed", Changes(0, 0, 1, 12), 12)
        (texts / "short.txt").write_text("Too few words.", encoding="utf-8")
        put("one too short", Changes(1, 0, 0, 12), 12, 1)
        dry = add(Request(texts, "letters", "Ann", "own work"), home=home, dry_run=True)
        (texts / "Letter 5 – final #5.txt").unlink()
        shown = add(Request(texts, "letters", "Ann", "own work"), home=home, dry_run=True)
        there = len(shelf.show("letters", home)[1])
        right = dry.changes == Changes(0, 0, 0, 13) and shown.changes == Changes(0, 0, 1, 12) and there == 13
        found["dry run"] = [] if right else [f"{dry.changes}, {shown.changes}, {there} still there"]
        name = os.fsdecode(b"caf\xe9.txt")
        try:
            (texts / name).write_text("\n\n".join(prose(77)), encoding="utf-8")
        except OSError:  # a file system that takes no such name
            found["undecodable name"] = []
        else:
            put("undecodable name", Changes(0, 0, 1, 12), 11, 2)
        gone = shelf.remove("letters", home)
        found["removed"] = (
            [] if gone == (["letters-letters"], ["letters"]) and not list((home / "sources").glob("letters*")) else [str(gone)]
        )
    return found
