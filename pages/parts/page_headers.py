"""Headers of every answer of the server: they limit whose scripts run, and forbid framing a page."""

import base64
import hashlib
import re
from pathlib import Path

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def _policy() -> str:
    """Return the Content-Security-Policy of Streamlit's pages: scripts come from this server alone, and no page is
    framed.

    The one inline script of Streamlit's own page goes by its hash; components bring theirs as blobs; WebGL plots of
    Plotly compile functions (`unsafe-eval`). Streamlit writes styles into its elements (`unsafe-inline`).
    """
    page = Path(st.__file__).with_name("static") / "index.html"
    inline = re.findall(r"<script>(.*?)</script>", page.read_text(encoding="utf-8"), re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        "default-src 'self'; "
        f"script-src 'self' 'unsafe-eval' blob: {allowed}; "
        "style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; "
        "font-src 'self' data:; "
        "media-src 'self' data: blob:; "
        "worker-src 'self' blob:; "
        "connect-src 'self' ws: wss: data: blob:; "
        "frame-src 'self' blob: data:; "
        "object-src 'none'; "
        "base-uri 'self'; "
        "form-action 'self'; "
        "frame-ancestors 'none'"
    )


class Headers:
    """Gives every page the headers that keep it out of frames and let it run this server's scripts alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": _policy(),
            "x-frame-options": "DENY",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by ASGI's protocol."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
