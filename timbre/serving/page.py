"""The page to try a voice on, at `/`: four files, no outside request, and a policy that allows none.

Its style sheet is that of all our pages, and what only this one has behind it.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

_FOLDER = Path(__file__).parent / "templates"
_SHARED = Path(__file__).parents[1] / "page" / "templates" / "page.css"
PATHS = {
    "/": ("try.html", "text/html; charset=utf-8"), "/try.css": ("try.css", "text/css"), "/try.js": ("try.js", "text/javascript"),
    "/try.svg": ("try.svg", "image/svg+xml"),
}  # fmt: skip
"""Path -> file and media type. They hold nothing secret, and are served without a key: the page asks for one when it needs it."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip


def mount_page(app: FastAPI) -> None:
    """Serve the files; they are no part of the API's description."""
    for path, (name, kind) in PATHS.items():
        body = (_SHARED.read_bytes() if name == "try.css" else b"") + (_FOLDER / name).read_bytes()

        async def served(body: bytes = body, kind: str = kind) -> Response:
            return Response(body, media_type=kind, headers=_HEADERS)

        app.add_api_route(path, served, include_in_schema=False)
