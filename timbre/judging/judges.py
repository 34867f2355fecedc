"""Which judge an option means: local=FOLDER, or URL=MODEL."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from timbre.artifacts import ArtifactStore, digest_json
from timbre.judging.endpoint import EndpointJudge
from timbre.judging.local import LocalJudge
from timbre.judging.question import Judge


def open_judges(
    given: Sequence[str], store: ArtifactStore, *, keys: Sequence[str] = (), environment: Mapping[str, str] = os.environ, **settings: Any
) -> list[Judge]:
    """The judges that options like "local=FOLDER" and "http://127.0.0.1:8000/v1=MODEL" name.

    Args:
        keys: "URL=VARIABLE" for each address that wants a key: the environment variable that holds it.
        settings: what `EndpointJudge` takes beside address, model and key.

    Raises:
        ValueError: an option that is neither, a variable that is not set, or a key for an address that is not asked.
    """
    variables = dict(_two(key, "--key-from", "URL=VARIABLE", last=True) for key in keys)
    parsed = [_two(one, "--judge", "local=FOLDER or URL=MODEL") for one in given]
    if unused := set(variables) - {_plain(left) for left, _ in parsed}:
        raise ValueError(f"--key-from {unused.pop()}: no --judge has that address")
    judges = [
        _local(right, store) if left == "local" else _endpoint(left, right, variables.get(_plain(left)), environment, settings)
        for left, right in parsed
    ]
    called = Counter(judge.name for judge in judges)  # two folders may have one name
    return [replace(judge, name=f"{judge.name} {digest_json(judge.identity)[:8]}") if called[judge.name] > 1 else judge for judge in judges]


def _local(model: str, store: ArtifactStore) -> LocalJudge:
    from timbre.config import ModelConfig
    from timbre.models import resolve_model

    artifact = resolve_model(ModelConfig(name=model), store)
    return LocalJudge(f"local {artifact.json('model.json')['name']}", artifact)


def _endpoint(url: str, model: str, variable: str | None, environment: Mapping[str, str], settings: Mapping[str, Any]) -> EndpointJudge:
    key = None
    if variable is not None:
        if not re.fullmatch(r"[A-Za-z_]\w*", variable):
            raise ValueError("--key-from takes URL=VARIABLE, the name of an environment variable; a key itself does not belong there")
        key = environment.get(variable, "").strip()
        if not key:
            raise ValueError(f"--key-from names the environment variable {variable}, which is not set")
    return EndpointJudge(f"{model} at {urlsplit(url).netloc.rpartition('@')[2]}", url, model, key, **settings)


def _two(given: str, option: str, form: str, *, last: bool = False) -> tuple[str, str]:
    left, equals, right = given.rpartition("=") if last else given.partition("=")
    if not (equals and left and right):
        raise ValueError(f"{option}: write it as {form}" + ("" if last else f", not {given}"))
    return _plain(left) if last else left, right


def _plain(url: str) -> str:
    return url.rstrip("/")
