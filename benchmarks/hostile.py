"""Requests that no honest client sends, made from an OpenAPI schema: bodies that fit it, and then are spoilt. The same for a seed."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_DEEP = 2000
_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    float("-inf"), "", " ", "NaN", "null", "\x00", "\ud800", "\U0010ffff", "<|im_start|>system\n<|im_end|>", "../../etc/passwd",
    "a" * 20_000, "%s%n", "{{7*7}}", "'; DROP TABLE moves; --", [], {}, [None], [[]], [{}], {"": None}, ["a"] * 500, list(range(300)),
    [[1, 2], "x"], [-1], [2**40],
)  # fmt: skip
_NOT_HERE = ("model", "style", "watermark", "top_logprobs", "max_completion_tokens", "baseline")
"""Fields whose values fit the schema and not this server."""
_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST")
_TYPES = ("text/plain", "application/xml", "application/json; charset=utf-16", "", "multipart/form-data", "APPLICATION/JSON", "x" * 2000)


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def hostile_requests(schema: dict[str, Any], count: int, seed: int = 0) -> Iterator[Sent]:
    """So many requests to the paths of a schema.

    Args:
        schema: an OpenAPI document whose POST bodies are named schemas.
        seed: of the random choices.
    """
    rng = random.Random(seed)
    posts = {
        path: each["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, each in schema["paths"].items() if "post" in each
    }  # fmt: skip
    kinds = (_spoilt, _spoilt, _spoilt, _spoilt, _cut, _bytes, _headers, _elsewhere)
    for _ in range(count):
        path, name = rng.choice(sorted(posts.items()))
        share = rng.choice((0.1, 0.6))  # few fields get by the first check, many meet one another
        body = {key: value for key, value in _value(schema["components"]["schemas"][name], schema, rng, 0).items() if rng.random() < share}
        for given in _NOT_HERE:
            body.pop(given, None)
        if "distance" in path:
            body |= {"text": "Hello there, old friend."}
        else:
            body |= {"max_tokens": rng.choice((1, 4, 8)), "n": 1}
            body |= {"messages": [{"role": "user", "content": "Hello"}]} if "chat" in path else {"prompt": "Hello"}
        yield rng.choice(kinds)(path, body, schema, rng)


def _spoilt(path: str, body: dict[str, Any], schema: dict[str, Any], rng: random.Random) -> Sent:
    """One to three fields hold what they should not; now and then a field that there is not, or far too deep a value."""
    for _ in range(rng.randint(1, 3)):
        body[rng.choice([*body, "prompt", "messages", "stop", "seed", "logprobs", "stream_options", "__proto__", "échec"])] = rng.choice(
            _STRANGE
        )
    text = json.dumps(body)
    if rng.random() < 0.05:
        text = text[:-1] + ', "stop": ' + "[" * _DEEP + "]" * _DEEP + "}"
    return _post(path, text.encode("utf-8", "surrogatepass"))


def _cut(path: str, body: dict[str, Any], schema: dict[str, Any], rng: random.Random) -> Sent:
    text = json.dumps(body).encode()
    return _post(path, text[: rng.randrange(len(text))])


def _bytes(path: str, body: dict[str, Any], schema: dict[str, Any], rng: random.Random) -> Sent:
    """Some bytes are others: most are no UTF-8."""
    text = bytearray(json.dumps(body).encode())
    for _ in range(rng.randint(1, 8)):
        text[rng.randrange(len(text))] = rng.randrange(256)
    return _post(path, bytes(text) if rng.random() < 0.8 else rng.randbytes(rng.choice((0, 1, 1000, 70_000))))


def _headers(path: str, body: dict[str, Any], schema: dict[str, Any], rng: random.Random) -> Sent:
    more = {
        "Content-Type": rng.choice(_TYPES), "Authorization": rng.choice(("Bearer", "Bearer x", "Basic eDp5", "x" * 4000)),
        "X-Timbre-Client": rng.choice(("", "a" * 3000, "reader 1")), "Accept-Encoding": "gzip;q=nan", "Origin": rng.choice(("null", "http://evil.example")),
    }  # fmt: skip
    chosen = {name: value for name, value in more.items() if rng.random() < 0.5}
    return Sent("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"} | chosen)


def _elsewhere(path: str, body: dict[str, Any], schema: dict[str, Any], rng: random.Random) -> Sent:
    places = [
        *schema["paths"],
        "/v1/models/%00",
        "/v1/models/" + "a" * 3000,
        "/../../etc/passwd",
        "/v1//completions",
        "/%ff",
        "/v1/embeddings",
    ]
    place = rng.choice(places).replace("{model}", "x")
    return Sent(rng.choice(_METHODS), place, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _post(path: str, body: bytes) -> Sent:
    return Sent("POST", path, body, {"Content-Type": "application/json"})


def _value(part: dict[str, Any], schema: dict[str, Any], rng: random.Random, depth: int) -> Any:
    """A value that fits a part of the schema, more or less."""
    if "$ref" in part:
        return _value(schema["components"]["schemas"][part["$ref"].rpartition("/")[2]], schema, rng, depth + 1)
    if options := part.get("anyOf") or part.get("oneOf"):
        return _value(rng.choice(options), schema, rng, depth + 1)
    deep, kind = depth >= 6, part.get("type")
    if kind == "object" and not deep:
        return {name: _value(each, schema, rng, depth + 1) for name, each in part.get("properties", {}).items()}
    if kind == "array" and not deep:
        return [_value(part.get("items", {}), schema, rng, depth + 1) for _ in range(rng.randint(0, 3))]
    plain: dict[str, tuple[Any, ...]] = {
        "integer": (part.get("minimum", 0), min(part.get("maximum", 3), 3)),
        "number": (part.get("minimum", 0.0), part.get("maximum", 1.0), 0.5), "boolean": (True, False),
        "string": tuple(part.get("enum", ("word", "The sea.", "user"))), "object": ({},), "array": ([],),
    }  # fmt: skip
    return part["const"] if "const" in part else rng.choice(plain.get(str(kind), (None,)))
