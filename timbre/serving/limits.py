"""How much one server takes on; each bound has an answer of its own when it is passed."""

from pydantic import Field

from timbre.config import Frozen


class Limits(Frozen):
    """Bounds of `timbre serve`."""

    body_bytes: int = Field(1 << 20, ge=1024, description="Longest request body (413).")
    max_tokens: int = Field(1024, ge=1, description="Longest text (400).")
    texts: int = Field(16, ge=1, description="Texts of one request: prompts × n (400).")
    rows: int = Field(16, ge=1, description="Texts written at once; further ones wait.")
    waiting: int = Field(64, ge=1, description="Texts that may wait; 429 with Retry-After beyond.")
    connections: int = Field(256, ge=1, description="Requests at once (429).")
    cache_mib: int = Field(2048, ge=1, description="Memory of keys and values, in MiB; further texts wait.")
    prefix_mib: int = Field(256, ge=0, description="Memory of kept beginnings of prompts, in MiB; 0 keeps none.")
    read_seconds: float = Field(20.0, gt=0, description="Until headers and body are here (408).")
    request_seconds: float = Field(300.0, gt=0, description="Until a text is written, with waiting (408).")
    write_seconds: float = Field(30.0, gt=0, description="How long a client may not read before it is left.")
    drain_seconds: float = Field(330.0, gt=0, description="How long a stopping server goes on with the texts it has begun.")


MOST_STEPS = 32
"""Of a refinement; each writes a stretch eight ways."""
