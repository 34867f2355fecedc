"""What every configuration is: a frozen value, read from TOML with sentences that name the wrong field; and which model."""

import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer


class Frozen(BaseModel):
    """A value that cannot change after it is checked, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Grown(Frozen):
    """A value with fields that came after artifacts had been built from it."""

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after artifacts had been built: at their default they are not written down, so that keys stay what they were."""

    @model_serializer(mode="wrap")
    def _without_later(self, told: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = told(self)
        for name in self.later:
            if name in fields and getattr(self, name) == type(self).model_fields[name].default:
                del fields[name]
        return fields


FrozenT = TypeVar("FrozenT", bound=Frozen)


def read_toml(path: Path, model: type[FrozenT]) -> FrozenT:
    """A value from its TOML file: a source, a style, a principle.

    Raises:
        ValueError: not TOML, or not such a value; the sentence names the file and each field that is wrong.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}" for item in error.errors())
        raise ValueError(f"{path}: {problems}") from error


class ModelConfig(Frozen):
    """The base model: the packaged default, a folder, or a Hugging Face name."""

    name: str = Field("smollm2-135m-instruct", description="'smollm2-135m-instruct' (packaged), a local folder, or a model name on a hub.")
    revision: str | None = Field(None, description="Commit of a hub model; required there, so that the same name is the same model.")
