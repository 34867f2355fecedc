"""Messages to the prompt that the model's chat template makes of them, with the writers' control tokens as plain text."""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from timbre.artifacts import Artifact
from timbre.models.tokens import backend_text_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEMPLATE_FILE = "chat_template.jinja"


class ChatTemplate:
    """A bundle's template. It runs in Jinja's sandbox, as transformers runs it."""

    def __init__(self, source: str, special: Mapping[str, str], tokenizer: "Tokenizer") -> None:
        """Raises: ValueError: this is no template."""
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
        environment.filters["tojson"] = _to_json
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ValueError(f"the chat template of this bundle cannot be read ({error})") from error
        self._special = dict(special)
        self._tokenizer = tokenizer
        self._control_ids = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        control = sorted(self._control_ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, control))) if control else None

    @classmethod
    def of(cls, bundle: Artifact, tokenizer: "Tokenizer") -> "ChatTemplate | None":
        """The template of a bundle, or None where its model has none."""
        config = bundle.json("tokenizer_config.json") if "tokenizer_config.json" in bundle.manifest.files else {}
        if _TEMPLATE_FILE in bundle.manifest.files:
            source: Any = bundle.file(_TEMPLATE_FILE).read_text(encoding="utf-8")
        else:
            source = config.get("chat_template")
        if not isinstance(source, str):
            return None
        special = {name: _content(value) for name, value in config.items() if name.endswith("_token")}
        return cls(source, {name: text for name, text in special.items() if text is not None}, tokenizer)

    def ids(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """The tokens of a conversation of (role, text), up to where the assistant begins to write.

        They are those of transformers' `apply_chat_template`, except that a control token written in a message is read as
        the characters it is spelled with.

        Raises:
            ValueError: the template refuses these messages.
        """
        from jinja2 import TemplateError

        nonce = secrets.token_hex(8)
        spelled: list[str] = []

        def hide(match: re.Match[str]) -> str:
            spelled.append(match[0])
            return f"\ue000{nonce}{len(spelled) - 1}\ue001"

        hidden = [{"role": role, "content": self._control.sub(hide, text) if self._control else text} for role, text in messages]
        try:
            rendered = self._template.render(messages=hidden, add_generation_prompt=True, **self._special)
        except (TemplateError, TypeError) as error:
            raise ValueError(f"the model's chat template does not take these messages ({error})") from error
        ids: list[int] = []
        for number, part in enumerate(re.split(f"\ue000{nonce}(\\d+)\ue001", rendered)):  # text, number, text, number, …
            ids += self._encode(spelled[int(part)], control=False) if number % 2 else self._encode(part, control=True)
        return ids

    def _encode(self, text: str, *, control: bool) -> list[int]:
        """Tokens of a text in which control tokens count, or in which they are plain."""
        if not control or self._control is None:
            return backend_text_ids(text, self._tokenizer)
        ids: list[int] = []
        at = 0
        for match in self._control.finditer(text):
            ids += self._encode(text[at : match.start()], control=False) if match.start() > at else []
            ids.append(self._control_ids[match[0]])
            at = match.end()
        return ids + (self._encode(text[at:], control=False) if at < len(text) else [])


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _content(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None
