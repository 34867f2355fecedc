"""What a request is told when it is not answered: a status, a sentence, and the field it is about, in OpenAI's form."""

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

_KINDS_OF_VALUE = ("function-", "constrained-", "list[")
"""How pydantic begins the name of a form that a field may take, where the field's own place is meant."""
_NAMED = re.compile(r"the field '(\w+)' is not supported here: leave it out")
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error", 503: "server_error"}


class Refusal(Exception):
    """An answer that is none."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def of_fields(error: ValidationError) -> Refusal:
    """The first field that is wrong and why; what it holds is never repeated."""
    errors = error.errors(include_url=False, include_input=False)
    place = tuple(takewhile(lambda part: not _is_form(part), errors[0]["loc"]))
    about = [each for each in errors if _form_of(each["loc"], place)] or errors[:1]  # one for each form that the field may take
    first = next((each for each in about if not each["type"].endswith("_type")), about[0])  # of the form that was meant
    field = ".".join(str(part) for part in first["loc"] if not _is_form(part))
    if first["type"] == "extra_forbidden":
        return Refusal(400, f"the field {field!r} is not supported here: leave it out", param=field, code="unsupported_field")
    if first["type"] == "json_invalid":
        return Refusal(400, f"the body is not JSON ({first['msg'].removeprefix('Invalid JSON: ')})", code="invalid_json")
    message = first["msg"].removeprefix("Value error, ")
    if named := _NAMED.fullmatch(message):
        return Refusal(400, message, param=named[1], code="unsupported_field")
    return Refusal(400, f"{field}: {message}" if field else message, param=field or None, code="invalid_value")


def _is_form(part: str | int) -> bool:
    """Whether a part of a place is no field but a form that the field may take."""
    return part in {"str", "int"} or str(part).startswith(_KINDS_OF_VALUE)


def _form_of(place: tuple[str | int, ...], field: tuple[str | int, ...]) -> bool:
    """Whether a place lies within a form of a field."""
    return place[: len(field)] == field and any(map(_is_form, place[len(field) : len(field) + 1]))
