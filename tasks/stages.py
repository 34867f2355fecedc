"""What `dvc.yaml` calls: a stage of the data road, built through the artifact store and laid where DVC tracks it.

The parameters come from `params.yaml`, so that DVC and the artifact store judge a build by the same words; the digests
under `inputs` let DVC see that a source or the model has changed.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from timbre.artifacts import Artifact, ArtifactStore, Input, write_atomically
from timbre.config import CorpusConfig, Frozen, ModelConfig, TargetConfig
from timbre.settings import settings

STAGING = ".timbre-"
"""Prefix of unfinished copies; DVC and git ignore them, and the next build removes them."""


class InputDigests(Frozen):
    """What decides a build besides its parameters. Empty or 0 where nothing was built yet: then nothing is compared."""

    corpus: dict[str, str] = Field(default_factory=dict)
    model: str = ""
    target: dict[str, str] = Field(default_factory=dict, description="What a target reads besides corpus and model: its principles.")
    corpus_stage: int = Field(0, description="Version of the stage's behaviour.")
    target_stage: int = 0
    precision: str = Field("", description="In which numbers the models of a target run: weights, products, device.")


class StyleParameters(Frozen):
    """One style in `params.yaml`."""

    corpus: CorpusConfig
    target: TargetConfig
    model: ModelConfig
    inputs: InputDigests = InputDigests()


def read_parameters(path: Path) -> dict[str, Any]:
    """A YAML file as DVC reads it; an empty one is an empty mapping.

    Raises:
        ValueError: not a YAML mapping.
    """
    tree: Any
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise ValueError(f"{path}: expected names and values, found {type(tree).__name__}")
    parameters: dict[str, Any] = tree or {}
    return parameters


def write_parameters(path: Path, tree: Mapping[str, Any], comment: str = "") -> None:
    """Write a YAML file, whole or not at all, below lines of comment."""
    write_atomically(path, (comment + dump_yaml(tree)).encode())


def dump_yaml(tree: Mapping[str, Any]) -> str:
    """YAML as DVC reads it, in the order of `tree`."""
    from ruamel.yaml import YAML

    yaml, stream = YAML(typ="safe"), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(tree), stream)
    return stream.getvalue()


def load_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: it is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ValueError(f"not YAML ({error})") from error


def style_parameters(path: Path, style: str) -> StyleParameters:
    """The parameters of a style.

    Raises:
        ValueError: no such style, or a field that is unknown or out of range.
    """
    styles = read_parameters(path).get("styles") or {}
    if style not in styles:
        raise ValueError(f"{path} has no style {style!r}: it has {', '.join(sorted(styles)) or 'none'}")
    return StyleParameters.model_validate(styles[style])


def run_corpus_stage(params: Path, style: str, out: Path) -> Artifact:
    """Build or find the corpus of a style and lay it at `out`.

    Raises:
        ValueError: unknown style, unusable sources, or other sources than the parameters name.
        IntegrityError: damaged sources.
    """
    from timbre.corpus.sources import corpus_inputs
    from timbre.corpus.stage import build_corpus

    parameters = style_parameters(params, style)
    if parameters.corpus.style != style:
        raise ValueError(f"{params}: styles.{style}.corpus.style is {parameters.corpus.style!r}; write {style!r}")
    _same_inputs(parameters.inputs.corpus, corpus_inputs(parameters.corpus), style)
    corpus = build_corpus(parameters.corpus, ArtifactStore(settings().home))
    materialise(corpus, out)
    return corpus


def run_target_stage(params: Path, style: str, corpus: Path, out: Path) -> Artifact:
    """Build or find the target of a style from the corpus at `corpus` and lay it at `out`.

    Raises:
        ValueError: unknown style or model, another model than the parameters name, or a refused target.
        IntegrityError: the corpus or the model is damaged.
    """
    from timbre.targets.stage import build_target, target_inputs

    parameters = style_parameters(params, style)
    _same_inputs(parameters.inputs.target, target_inputs(parameters.target), style)
    store = ArtifactStore(settings().home)
    model = _model(parameters, style, store)
    target = build_target(parameters.target, store.adopt(corpus), model, store)
    materialise(target, out, packed=keeps_archives(read_parameters(params)))
    return target


def keeps_archives(parameters: Mapping[str, Any]) -> bool:
    """Whether targets are laid in their archive form: `target.archive` of a parameter file; absent means no.

    Raises:
        ValueError: neither true nor false.
    """
    section = parameters.get("target") or {}
    archive = section.get("archive", False) if isinstance(section, dict) and section.keys() <= {"archive"} else None
    if not isinstance(archive, bool):
        raise ValueError(f"params.yaml: the section `target` holds `archive: true` or `archive: false` and nothing else, not {section!r}")
    return archive


@contextmanager
def opened(laid: Path, scratch: Path) -> Iterator[Artifact]:
    """The verified artifact that lies at `laid`; a packed target is unpacked below `scratch` until the end of the block.

    Raises:
        IntegrityError: it is damaged.
    """
    from timbre.store.archive import is_packed, unpack

    if not is_packed(laid):
        yield Artifact.open(laid)
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{STAGING}unpacked-", dir=scratch) as folder:
        unpack(laid, Path(folder))
        yield Artifact.open(Path(folder))


def materialise(artifact: Artifact, out: Path, *, packed: bool = False) -> None:
    """Copy an artifact to `out`, whole or not at all; what was there is replaced.

    A copy, never a link: DVC changes permissions and inodes of what it tracks.

    Args:
        packed: lay a target in its archive form.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(f"{STAGING}{out.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{out.name}-", dir=out.parent))
    try:
        if packed:
            from timbre.store.archive import pack

            pack(artifact.path, staging)
        else:
            shutil.copytree(artifact.path, staging, dirs_exist_ok=True)
        staging.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    os.utime(out)


def _model(parameters: StyleParameters, style: str, store: ArtifactStore) -> Artifact:
    """By digest where this machine has it: a relative folder name means something only where the release was started."""
    from timbre.models import STAGE, resolve_model

    wanted = parameters.inputs.model
    if wanted and (store.home / "artifacts" / STAGE.name / wanted).exists():
        return store.open(STAGE.name, wanted)
    model = resolve_model(parameters.model, store)
    if wanted and model.digest != wanted:
        raise ValueError(
            f"the model {parameters.model.name} is {model.digest[:12]} here and {wanted[:12]} in the parameters of {style}: "
            f"start over with `timbre run --style {style}`"
        )
    return model


def _same_inputs(wanted: Mapping[str, str], found: Mapping[str, Input], style: str) -> None:
    present = {name: value.digest for name, value in found.items()}
    if wanted and dict(wanted) != present:
        changed = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        raise ValueError(
            f"the inputs of {style} are not those of its parameters ({', '.join(changed)}): run `timbre run --style {style}` again"
        )
