"""Write what Timbre is made of, as a CycloneDX 1.6 document: `build/sbom.json`.

Run by `make check`. Every package of `requirements.lock` with its version, the sha256 of its files, the licence that it states and
its package URL; `required` are those that the whole road (extra `run`) or `documents` brings, `optional` those of tests and documentation.
The document is checked against its schema, names no time and no place, and is the same for the same lock.
"""

import re
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from timbre import __version__

ROOT = Path(__file__).resolve().parents[1]
_PINNED = re.compile(r"^([\w.-]+)==([^ \\;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ROAD = ("run", "documents")


def locked(lock: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and hashes of each requirement."""
    for block in re.split(r"\n(?=[a-z])", lock):
        if found := _PINNED.match(block):
            yield found[1], found[2], _HASH.findall(block)


def needs(name: str, extra: str = "") -> list[Requirement]:
    """What a package asks for here; nothing for one that is not installed."""
    try:
        asked = map(Requirement, distribution(name).requires or [])
    except PackageNotFoundError:
        return []
    return [need for need in asked if need.marker is None or need.marker.evaluate({"extra": extra})]


def required(extras: tuple[str, ...] = _ROAD) -> set[str]:
    """Names of all that Timbre with these extras brings here, and what that brings."""
    found: set[str] = set()
    waiting = [("timbre", extra) for extra in ("", *extras)]
    seen = set(waiting)
    while waiting:
        for need in needs(*waiting.pop()):
            own = canonicalize_name(need.name)
            found.add(own)
            news = {(own, ""), *((own, extra) for extra in need.extras)} - seen
            waiting += sorted(news)
            seen |= news
    return found - {"timbre"}


def licence_of(name: str) -> str:
    """What a package that is installed here says of its licence; empty where it says nothing short."""
    try:
        told = distribution(name).metadata
    except PackageNotFoundError:
        return ""
    short = [text for text in (told.get("License-Expression"), told.get("License")) if text and len(text) < 80 and "\n" not in text]
    ours = "License :: "
    named = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith(ours) and line.count("::") > 1]
    return (short or named or [""])[0]


def materials(lock: str) -> Bom:
    """The document of a lock."""
    bom, road = Bom(serial_number=None), required()
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the same lock, the same document
    bom.metadata.component = whole = Component(name="timbre", version=__version__, type=ComponentType.APPLICATION, bom_ref="timbre")
    parts: dict[str, Component] = {}
    for name, version, hashes in locked(lock):
        licence = licence_of(name)
        part = Component(
            name=name,
            version=version,
            bom_ref=f"{name}=={version}",
            purl=PackageURL("pypi", name=name, version=version),
            scope=ComponentScope.REQUIRED if canonicalize_name(name) in road else ComponentScope.OPTIONAL,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in hashes],
            licenses=[DisjunctiveLicense(name=licence)] if licence else [],
        )
        bom.components.add(part)
        parts[canonicalize_name(name)] = part
    direct = [need for extra in ("", *_ROAD) for need in needs("timbre", extra)]
    for component, asked in [(whole, direct), *((part, needs(name)) for name, part in parts.items())]:
        bom.register_dependency(component, [parts[own] for need in asked if (own := canonicalize_name(need.name)) in parts])
    return bom


def document(lock: str) -> str:
    """The JSON of a lock's bill of materials; the same for the same lock and the same packages beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a package for another system has no dependencies here
        text = JsonV1Dot6(materials(lock)).output_as_string(indent=1)
    return re.sub(r'\n? *"(serialNumber|timestamp)": "[^"]*",?', "", text) + "\n"


def main() -> None:
    """Write it; an invalid document ends with 1."""
    text = document((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"build/sbom.json would not be a CycloneDX document: {wrong}")
    place = ROOT / "build" / "sbom.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, encoding="utf-8")
    print(f"{place.relative_to(ROOT)}: {text.count('bom-ref') - 1} packages")


if __name__ == "__main__":
    main()
