"""Addresses of pages that are no more: each leads on to the page that has taken its place."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from pages.parts.private_path import base_path

MOVED = {"overview": ""}
"""The page of each old address; '' is the first one."""


def routes() -> list[Route]:
    """What the server answers at the old addresses. What else an address names goes along."""
    return [Route(f"{base_path()}/{old}", _leading_to(new)) for old, new in MOVED.items()]


def _leading_to(page: str) -> Callable[[Request], Awaitable[RedirectResponse]]:
    async def lead(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        # Relative, so that the private part of the address stays. Not a permanent one: browsers would keep it for
        # whatever else is served at this port later.
        return RedirectResponse(f"./{page}{query}", 307)

    return lead
