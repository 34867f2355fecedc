"""How far a text is from a style, and which of its stretches take it there: `POST /v1/style-distance`, and a mark on the page at `/`.

The distance is that which refinement lowers (`timbre.metrics.critic`): root mean square of the passage's style figures in human
spreads, beyond that of the middle human passage. A stretch is judged by leaving it out: what is nearer to the style without it is
what takes it away. No trained critic is asked: a bundle carries none.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from timbre.artifacts import IntegrityError
from timbre.serving.answering import Desk
from timbre.serving.refine import Critic
from timbre.serving.refusal import Refusal, of_fields
from timbre.serving.requests import CompletionRequest

NAME = "style distance"
STRETCH, STRIDE = 12, 6
"""Words of a stretch that is left out, and between the beginnings of two."""
_MOST = 8_000
_WORD = re.compile(r"\S+")


class DistanceRequest(BaseModel):
    """`POST /v1/style-distance`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    model: Annotated[str, Field(max_length=300)] | None = None
    style: Annotated[str, Field(max_length=200)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=_MOST)]


def stretches(critic: Critic, text: str) -> tuple[float, list[dict[str, Any]]]:
    """The distance of a text, and of each piece of it how much nearer the text would be without it.

    Returns:
        The distance in human spreads; pieces of `STRIDE` words that follow one another, as {start, end, away}: characters, and the mean
        over the stretches that hold the piece of what leaving them out takes off the distance (negative: it keeps the text near).
    """
    words = [(found.start(), found.end()) for found in _WORD.finditer(text)]
    starts = range(0, max(len(words) - STRETCH, 0) + 1, STRIDE)
    left = [_without(text, words[start : start + STRETCH]) for start in starts]
    whole, *others = (float(one) for one in critic.distances([text, *left]))
    found = []
    for place in range(0, len(words), STRIDE):
        piece = words[place : place + STRIDE]
        held = [whole - other for start, other in zip(starts, others, strict=True) if start <= place < start + STRETCH]
        if not held:  # words behind the last whole stretch go with it
            held = [whole - others[-1]]
        found.append({"start": piece[0][0], "end": piece[-1][1], "away": round(sum(held) / len(held), 4)})
    return round(whole, 4), found


def mount_distance(app: FastAPI, desk: Desk) -> None:
    """Serve the route; one text is judged at a time."""
    judging = asyncio.Lock()

    @app.post(
        "/v1/style-distance",
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DistanceRequest"}}}}
        },
    )
    async def distance(request: Request) -> JSONResponse:
        """How far a text is from a style, and which stretches take it there."""
        try:
            asked = DistanceRequest.model_validate_json(await request.body())
        except ValidationError as error:
            raise of_fields(error) from None
        loaded = desk.loaded(CompletionRequest(model=asked.model, style=asked.style, prompt=""))
        if not asked.text.strip():
            raise Refusal(400, "the text holds no words", param="text")
        try:
            async with judging:
                critic = await asyncio.to_thread(desk.styles.critic, loaded)
                whole, pieces = await asyncio.to_thread(stretches, critic, asked.text)
        except (ValueError, IntegrityError, ModuleNotFoundError):
            why = "the training text that the distance needs is not to be had on this server, or is too little"
            raise Refusal(400, why, code="no_reference") from None
        about = {"style": loaded.style, "version": loaded.version, "critic": NAME}
        return JSONResponse({"object": "style_distance", "distance": whole, "stretches": pieces, "timbre": about})


def _without(text: str, words: Sequence[tuple[int, int]]) -> str:
    return f"{text[: words[0][0]]}{text[words[-1][1] :].lstrip()}" if words else text
