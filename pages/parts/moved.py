"""Addresses of pages that are no more: each leads on to the page that has taken its place."""

from collections.abc import Awaitable, Callable

import streamlit as st
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

MOVED = {"overview": ""}
"""The page of each old address; '' is the first one."""


def routes() -> list[Route]:
    """What the server answers at the old addresses. What else an address names goes along."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    root = f"/{base}" if base else ""
    return [Route(f"{root}/{old}", _leading_to(f"{root}/{new}")) for old, new in MOVED.items()]


def _leading_to(path: str) -> Callable[[Request], Awaitable[RedirectResponse]]:
    async def lead(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        # Not a permanent one: browsers would keep it for whatever else is served at this port later.
        return RedirectResponse(f"{path}{query}", 307)

    return lead
