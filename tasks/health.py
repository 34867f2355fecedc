"""What `timbre doctor` looks for beside artifacts and chains: each finding is a sentence that says how to mend it."""

import hashlib
import re
import shutil
from contextlib import closing
from pathlib import Path

from timbre.registry.ledger import Ledger
from timbre.settings import Settings, settings
from timbre.tasks.stores.git import Git
from timbre.tasks.stores.registry_init import furnish, furnished, only_owner

LOW_GB = 5.0
_OBJECTS = Path("files") / "md5"


def findings() -> list[str]:
    """Everything that is not as it should be here."""
    return [*low_disk(settings().home), *ledger_schema(settings().ledger), *damaged_objects(settings().remote_url)]


def bring_registry_along(here: Settings) -> str | None:
    """Let the data registry of a home that was moved send its data to where the home is now, before anybody types `dvc push` in it.

    Returns:
        The old place of the home, if the registry still named it.
    """
    path = here.registry_path.absolute()
    config = path / ".dvc" / "config"
    if here.data_registry is not None or here.data_remote is not None or not furnished(path):
        return None
    before = config.read_text(encoding="utf-8")
    with only_owner(path, 30):
        furnish(Git(path), here)
    named = re.search(r'url = "(.*)"', before)
    return str(Path(named[1]).parent) if named and config.read_text(encoding="utf-8") != before else None


def low_disk(home: Path) -> list[str]:
    """Less room than a release may need."""
    there = next(folder for folder in (home, *home.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1e9
    return [f"disk: {free:.1f} GB free under {home}, and a release may need {LOW_GB:g}: `timbre gc --dry-run` says what could go"] * (
        free < LOW_GB
    )


def ledger_schema(url: str) -> list[str]:
    """Columns that this version writes and the ledger's database lacks; nothing where there is no ledger yet."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return []
    with closing(Ledger(url)) as ledger:
        lacking = ledger.lacking()
    if not lacking:
        return []
    return [
        f"ledger: its tables lack {', '.join(lacking)}, which this version of Timbre writes: save the home (`timbre backup`), then add the "
        "columns, or restore a backup that was made by this version"
    ]


def damaged_objects(remote: str) -> list[str]:
    """Objects of a DVC remote in a folder that are not what their name says: every one is hashed. Remotes elsewhere check at a pull."""
    if "://" in remote:
        return []
    wrong = []
    for path in sorted((Path(remote) / _OBJECTS).glob("*/*")):
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != path.parent.name + path.name.removesuffix(".dir"):
            wrong.append(path)
    return [
        f"data remote: {path} is not what its name says: remove it, and `dvc push` in the data registry sends it again" for path in wrong
    ]
