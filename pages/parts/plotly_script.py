"""Plotly's browser library, from Plotly's package, served by this server."""

import gzip
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pages.parts.door import base_path


def address() -> str:
    """Return its path on the server. It changes with the version, so that browsers may cache it."""
    return f"{base_path()}/scripts/plotly-{version('plotly')}.js"


def routes() -> list[Route]:
    """Return its route."""
    return [Route(address(), _answer)]


@cache
def compressed() -> bytes:
    """Return the library, compressed once for all visitors."""
    spec = find_spec("plotly")
    assert spec is not None and spec.submodule_search_locations
    (folder,) = spec.submodule_search_locations
    return gzip.compress((Path(folder) / "package_data" / "plotly.min.js").read_bytes(), 6, mtime=0)


def _answer(request: Request) -> Response:
    taken = request.headers.get("accept-encoding", "")
    headers = {"cache-control": "private, max-age=31536000, immutable", "vary": "accept-encoding"}
    if "gzip" not in taken:
        return Response(gzip.decompress(compressed()), media_type="text/javascript", headers=headers)
    return Response(compressed(), media_type="text/javascript", headers=headers | {"content-encoding": "gzip"})
