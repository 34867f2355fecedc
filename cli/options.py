"""Options that several commands share."""

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from timbre.config import ReleaseConfig

Style = Annotated[str, typer.Option(help="A style of data/styles/, or one made with `timbre corpus add`.")]
Profile = Annotated[str, typer.Option(help="quick: minutes on a laptop; standard: hours; gpu: a GPU.")]
Seed = Annotated[int, typer.Option(help="Moves target and training; splits and evaluation keep seeds of their own.")]
Model = Annotated[str, typer.Option(help="Base model: the packaged default, a folder, or a hub name.")]
Set = Annotated[list[str], typer.Option("--set", help="Any field, for example --set target.alpha=0.75 (repeatable).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

DEFAULT_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Chosen:
    """The options that name a release, as they were typed."""

    style: str
    profile: str
    seed: int
    model: str
    settings: list[str]

    def release(self, *more: str) -> "ReleaseConfig":
        """The release, with further assignments behind those of `--set`."""
        return resolve(self.style, self.profile, self.seed, self.model, [*self.settings, *more])


_NAMING: tuple[tuple[str, Any, Any], ...] = (
    ("style", Style, "literary"),
    ("profile", Profile, "quick"),
    ("seed", Seed, 1),
    ("model", Model, DEFAULT_MODEL),
    ("settings", Set, []),
)


def names_a_release(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that name a release, where `command` has one parameter `chosen`."""

    @functools.wraps(command)
    def typed(**given: Any) -> None:
        command(chosen=Chosen(*(given.pop(name) for name, _, _ in _NAMING)), **given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        named = _NAMING if parameter.name == "chosen" else ((parameter.name, parameter.annotation, parameter.default),)
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind) for name, kind, default in named
        ]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return typed


def resolve(style: str, profile: str, seed: int, model: str, settings: list[str]) -> "ReleaseConfig":
    """The configuration that these options ask for.

    Raises:
        ValueError: an assignment without '=', an unknown field, or a value out of range.
    """
    from timbre.config import release_config

    overrides: dict[str, Any] = {}
    if model != DEFAULT_MODEL:
        overrides["model.name"] = model
    for assignment in settings:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: write it as section.field=value, for example target.alpha=0.75")
        overrides[name.strip()] = _value(text)
    return release_config(style, profile, seed, overrides)


def read_release(path: Path) -> "ReleaseConfig":
    """A release from a JSON file.

    Raises:
        ValueError: not JSON, an unknown field, a value out of range, or the policy or budget of another profile; a JSON error
            names the file.
    """
    from timbre.config import ReleaseConfig, check_profile

    try:
        tree = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    return check_profile(ReleaseConfig.model_validate(tree))


def refuse_beside(context: typer.Context, option: str, *allowed: str) -> None:
    """Refuse options that would be ignored because `option` was given.

    Args:
        option, allowed: names of the command's parameters.

    Raises:
        ValueError: options other than `allowed` were given; the sentence names them.
    """
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in (option, *allowed) and _was_given(context, str(parameter.name))
    ]
    if given:
        raise ValueError(
            f"--{option} holds the whole release, so {', '.join(given)} would be ignored: write it into the file, or leave it out"
        )


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
