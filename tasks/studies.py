"""Blind studies as evidence of a release: what people said of a registered version, kept beside it and shown in its report.

A study that was exported of a version names it in its key, with the digest of its bundle; the key is sealed. So ratings stand as evidence
of that version and of no other. No gate reads them: few raters speak for nobody else, and they come after the release.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from timbre.artifacts import IntegrityError, digest_json, sha256_file, write_atomically
from timbre.gates.made import FACTS_HERE
from timbre.settings import settings
from timbre.tasks.latest import REPORT, latest_folder

Row = Mapping[str, Any]


def keep_study(report: Row, key: Row, files: Sequence[Path]) -> Path:
    """Keep the figures of a study of a version, and write them into its report where that is the newest of its style.

    Args:
        report: what `timbre.judging.ratings.ratings_report` says.
        key: the key of the export.
        files: what raters sent back; their sha256 are kept, so that it can be said later what the figures rest on.

    Returns:
        The file that was written: the same answers give the same.

    Raises:
        ValueError: the study is not of a registered version, or that is not in this home.
        IntegrityError: the version's bundle is another than the one whose texts were rated.
    """
    release = key.get("release")
    if not isinstance(release, Mapping):
        raise ValueError("this study is of no registered version: export it of one, `timbre judge export STYLE@N @human --out FOLDER`")
    _check(release)
    ratings = sorted(sha256_file(path) for path in files)
    found = {"release": dict(release), "report": dict(report), "ratings": ratings}
    name = digest_json({**found, "studies": sorted(key["studies"])})[:12]
    place = _folder(str(release["model"]), int(release["version"])) / f"{name}.json"
    if not place.exists():
        kept = found | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    show_studies(str(release["style"]), str(release["model"]), int(release["version"]))
    return place


def studies_of(model: str, version: int) -> list[dict[str, Any]]:
    """What was kept of a version, oldest first."""
    found = [json.loads(path.read_bytes()) for path in _folder(model, version).glob("*.json")]
    return sorted(found, key=lambda one: str(one["at"]))


def sentence(report: Row) -> str:
    """What a study says, in one line: who, of how much, and which way, with the 95% interval."""
    names, said = report["names"], []
    if pairs := report.get("pairs"):
        rate = pairs["win_rate"]
        within = "" if rate["low"] is None else f" [{rate['low']:.2f}, {rate['high']:.2f}]"
        said.append(
            f"{_raters(pairs['raters'])}, {pairs['pairs']} pairs: {names['A']} preferred to {names['B']} in {rate['value']:.2f}{within}, "
            "ties as halves"
        )
    if form := report.get("form"):
        means = [f"{scale} {rows['A']['value']:.1f} to {rows['B']['value']:.1f}" for scale, rows in form["scales"].items()]
        said.append(f"{_raters(form['raters'])}, {form['texts']} texts, 1–5: {', '.join(means)}")
    return "; ".join(said)


def show_studies(style: str, model: str, version: int) -> bool:
    """Write the studies of a version into the newest report of its style, if that is of this version; whether it was."""
    page = latest_folder(style) / REPORT
    try:
        text = page.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    if not re.search(rf"<dt>version</dt><dd>v{version}\b", text) or FACTS_HERE not in text:
        return False
    rows = [f"<div><dt>people</dt><dd>{escape(sentence(one['report']))}</dd></div>\n" for one in studies_of(model, version)]
    fresh = "".join(row for row in rows if row not in text)
    write_atomically(page, text.replace(FACTS_HERE, fresh + FACTS_HERE, 1).encode())
    return True


def _check(release: Row) -> None:
    from timbre.tasks.bundles import find_version

    version = find_version(str(release["model"]), int(release["version"]))
    if version.bundle != release["bundle"]:
        raise IntegrityError(
            f"the texts that were rated are of another {release['model']} v{release['version']} than the one in this home: "
            "import them where the study was exported"
        )


def _folder(model: str, version: int) -> Path:
    return settings().home / "studies" / f"{model}-v{version}"


def _raters(raters: Any) -> str:
    return f"{len(raters)} rater{'' if len(raters) == 1 else 's'}"
