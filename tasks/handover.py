"""What the data team takes away: a version of a corpus or a target, how to import it, and its datasheet."""

from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact
from timbre.config import Frozen
from timbre.corpus.documents import SPLITS
from timbre.settings import settings
from timbre.tasks.context import known_style, open_store
from timbre.tasks.stores.dvc import DataRegistry
from timbre.tasks.stores.versions import DataStage


class HandOut(Frozen):
    """A version as another repository takes it."""

    stage: DataStage
    style: str
    version: int
    revision: str
    """Tag in the registry: what `dvc import --rev` and `dvc.api` take."""
    digest: str
    registry: str
    """Folder or URL of the data registry."""
    path: str
    """The data's path inside the registry."""
    commands: tuple[str, ...]
    datasheet: str
    """Markdown."""


def hand_out(stage: DataStage, style: str, number: int | None = None) -> HandOut:
    """The newest version of a style's corpus or target, or that number.

    Raises:
        ValueError: no such style or version; the sentence says what there is.
        IntegrityError: the artifact in this home is damaged.
    """
    import shlex

    known_style(style)
    registry = DataRegistry.open(settings())
    versions = [version for version in registry.history(style) if version.stage == stage]
    if not versions:
        raise ValueError(f"the data registry has no {stage} of {style!r} yet: `timbre run --style {style}` or `timbre handin` makes one")
    chosen = versions[-1] if number is None else next((version for version in versions if version.number == number), None)
    if chosen is None:
        raise ValueError(f"there is no {stage}/{style}/v{number}: versions are {', '.join(f'v{version.number}' for version in versions)}")
    place, path = settings().registry_url or str(registry.path), f"{stage}/{style}"
    commands = (
        shlex.join(["dvc", "import", place, path, "--rev", chosen.tag]),
        f"dvc.api.open({f'{path}/manifest.json'!r}, repo={place!r}, rev={chosen.tag!r})",
    )
    facts = {"stage": stage, "style": style, "version": chosen.number, "revision": chosen.tag, "digest": chosen.digest}
    sheet = _datasheet(facts | {"date": chosen.date.date().isoformat()}, _artifact(stage, chosen.digest), commands)
    return HandOut(
        stage=stage, style=style, version=chosen.number, revision=chosen.tag, digest=chosen.digest, registry=place, path=path,
        commands=commands, datasheet=sheet,
    )  # fmt: skip


def _artifact(stage: DataStage, digest: str) -> Artifact | None:
    """The data in this home; a colleague's version may not be here, and then its datasheet says less."""
    try:
        return open_store().open(stage, digest)
    except ValueError:
        return None


def _datasheet(facts: dict[str, Any], artifact: Artifact | None, commands: tuple[str, ...]) -> str:
    lines = [f"# {facts['revision']}", "", f"Tagged {facts['date']}, digest `{facts['digest']}`.", ""]
    if artifact is None:
        lines += ["The data itself is not in this home; import it to read its own `datasheet.json`, `counts.json` or `summary.json`.", ""]
    elif facts["stage"] == "corpus":
        lines += _corpus_lines(artifact)
    elif facts["stage"] == "sequence":
        lines += _sequence_lines(artifact)
    else:
        lines += _target_lines(artifact)
    python = ["```python", "import dvc.api", "", f"with {commands[1]} as stream:", "    print(stream.read())", "```"]
    return "\n".join([*lines, "## Take it", "", "```sh", commands[0], "```", "", *python, ""])


def _corpus_lines(artifact: Artifact) -> list[str]:
    sheet, counts = artifact.json("datasheet.json"), artifact.json("counts.json")
    rejected = ", ".join(f"{reason} {count}" for reason, count in counts["rejected"].items() if count) or "none"
    parts = ((name, counts["splits"][name]) for name in SPLITS)  # JSON has them by the alphabet
    splits = ", ".join(f"{name} {split['documents']} ({split['tokens']:,} tokens)" for name, split in parts)
    rows = [
        f"| {name} | {entry['kind']} | {entry['licence']} | {entry['consent'] or 'not recorded'} | {entry['version'] or ''} |"
        for name, entry in sheet["sources"].items()
    ]
    dates = sheet["dates"]
    return [
        f"{sheet['documents']:,} documents, {sheet['tokens']:,} tokens. Splits: {splits}. Read {counts['read']}, kept {counts['kept']}; "
        f"rejected: {rejected}.",
        "",
        *(["**Research use only.**", ""] if sheet["research_only"] else []),
        "| source | kind | licence | consent | version |", "|---|---|---|---|---|", *rows, "",
        "Largest shares: " + ", ".join(f"{row['author'] or 'unknown'} {row['share']:.1%}" for row in sheet["authors"][:5]) + ".",
        "Dates: " + (f"{dates['first']} to {dates['last']}, {dates['undated']} undated." if dates else "none."),
        "Personal data replaced: "
        + (", ".join(f"{kind} {count}" for kind, count in sheet["personal_data_replaced"].items()) or "none") + ".",
        "",
    ]  # fmt: skip


def _target_lines(artifact: Artifact) -> list[str]:
    config, header = artifact.manifest.config, artifact.json("header.json")
    rows = sum(shard["rows"] for shard in header["shards"])
    return [
        f"{rows:,} passages as next-token distributions: {header['coding']}, K = {header['top_k']}, vocabulary {header['vocab_size']:,}, "
        f"α = {header['alpha']:g}.",
        f"Made from corpus `{artifact.manifest.inputs['corpus'][:12]}` and model `{artifact.manifest.inputs['model'][:12]}` "
        f"with {config['train_tokens']:,} training tokens. A reader refuses another tokenizer (`{header['tokenizer_digest'][:12]}`).",
        "",
    ]


def _sequence_lines(artifact: Artifact) -> list[str]:
    config, admission = artifact.manifest.config, artifact.json("admission.json")
    why = str(admission["why"])
    return [
        f"{admission['completions']:,} completions of {admission['prompts']:,} prompts from {admission['documents']:,} documents, "
        f"weighted by {config['weights']}. {why[:1].upper()}{why[1:]}.",
        f"Made from completions `{artifact.manifest.inputs['completions'][:12]}`, which are text of a model and not of people.",
        "",
    ]


def write_datasheet(handed: HandOut, path: Path) -> None:
    """Write the datasheet, whole or not at all."""
    from timbre.artifacts import write_atomically

    write_atomically(path, handed.datasheet.encode())
