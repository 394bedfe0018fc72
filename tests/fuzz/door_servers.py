"""Doors of the server: who comes in, from which page, with which password, and where a cookie goes."""

import asyncio
import random
import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urljoin, urlsplit

from pages.parts import door, guards
from pages.parts import guards as attempts
from tests.fuzz import hostile
from tests.fuzz.doors import door as add
from tests.fuzz.doors import require

_KEY = "the-key-of-this-server"
_PASSWORD = "the password of this server"
_LETTERS = string.ascii_letters + string.digits + "~_-/.%?&=;:\\ \"'<>\0\r\n\té"


async def _inside(scope: Any, receive: Any, send: Any) -> None:
    """The application behind the door."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inside", b"1")]})
    await send({"type": "http.response.body", "body": b"inside"})


def _text(dice: random.Random) -> str:
    if dice.random() < 0.5:
        return "".join(dice.choice(_LETTERS) for _ in range(dice.randrange(40)))
    return hostile.text(dice)[:3000]


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _asked(guard: Any, scope: dict[str, Any], body: bytes = b"") -> list[dict[str, Any]]:
    """What is sent in answer to one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    # In a thread: Playwright's own loop runs in that of the tests.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, guard(scope, receive, send)).result()
    return sent


def _scope(dice: random.Random, kind: str, method: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    segment = dice.choice(("", "", "~0123456789abcdef/", "~" + _text(dice)[:16] + "/"))
    path = f"/{segment}{dice.choice(('', 'sinks', 'media/x.png', '_stcore/stream', _text(dice)))}"
    token = dice.choice(("", f"token={_text(dice)}", f"token={_KEY}x", f"token={_KEY[:-1]}", f"Token={_KEY}"))
    query = "&".join(filter(None, (_text(dice).replace("&", ""), token)))
    return {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": _latin(query),
        "headers": headers,
        "server": ("localhost", 8501),
        "client": (dice.choice(("127.0.0.1", "::1", "192.0.2.7", _text(dice)[:40])), 1),
        "scheme": "http",
    }


def _cookies(dice: random.Random) -> list[tuple[bytes, bytes]]:
    names = ("sinkscope-key-8501", "sinkscope-8501", "sinkscope-key-8502", "x", "", _text(dice)[:20])
    values = (_KEY[:-1], f"{_KEY}x", "", "run.0123456789abcdef.AAAA", "look..", f"run.{_KEY}", _text(dice))
    pairs = (f"{dice.choice(names)}={dice.choice(values)}" for _ in range(dice.randrange(4)))
    return [(b"cookie", _latin("; ".join(pairs)))] if dice.random() < 0.8 else []


def _require_shut(sent: list[dict[str, Any]], told: str) -> None:
    """Raise Wrong for an answer by which somebody came in."""
    first = sent[0]
    if first["type"].startswith("websocket"):
        require(first == {"type": "websocket.close", "code": 1008}, f"{told}: {first}")
        return
    headers = dict(first["headers"])
    require(b"x-inside" not in headers and b"set-cookie" not in headers, f"{told}: {first}")
    require(
        first["status"] in (401, 403, 429) or (first["status"] == 307 and b"location" in headers), f"{told}: {first}"
    )


def _open(path: str) -> bool:
    """Whether a path is one that everybody may ask for."""
    return door.divide(path)[1] in (guards.HEALTH, guards.plotly_script.address())


@add(260)
def token(place: Path) -> Callable[[random.Random], None]:
    """Requests without the token: nothing inside is served, and no cookie is given."""
    guard = guards.Door(_inside, _KEY)

    def answer(dice: random.Random) -> None:
        kind = dice.choice(("http", "http", "websocket"))
        scope = _scope(dice, kind, dice.choice(("GET", "POST", "PUT", "HEAD", "OPTIONS")), _cookies(dice))
        if not _open(scope["path"]):
            _require_shut(_asked(guard, scope), f"{scope!r:.300}")

    return answer


@add(200)
def places_of_the_cookie(place: Path) -> Callable[[random.Random], None]:
    """With the token, at any address: the cookie goes to a path that nobody knows, on this server and nowhere else."""
    guard = guards.Door(_inside, _KEY)

    def answer(dice: random.Random) -> None:
        scope = _scope(dice, "http", "GET", _cookies(dice))
        scope["path"] = f"/{_text(dice)}"
        scope["query_string"] = _latin(f"token={_KEY}")
        if _open(scope["path"]):
            return
        sent = _asked(guard, scope)[0]
        headers, own = dict(sent["headers"]), door.divide(scope["path"])[0]
        if sent["status"] == 307:
            where = headers[b"location"].decode("ascii")
            require(where.lstrip("./").startswith("~") and not set(where) & set("\r\n\\"), where)
            require(urlsplit(urljoin("http://localhost:8501/", where)).netloc == "localhost:8501", where)
        else:
            require(sent["status"] == 200 and bool(own) and b"path=" not in headers[b"set-cookie"].lower(), str(sent))

    return answer


@add(200)
def passwords(place: Path) -> Callable[[random.Random], None]:
    """Wrong passwords and forged cookies, and forms that are none."""
    given = mock.patch.object(door, "_secrets", lambda name: {"password": _PASSWORD} if name == "sinkscope" else {})
    still = mock.patch.object(attempts, "LONGEST_DELAY", 0.0)

    def answer(dice: random.Random) -> None:
        words = (_PASSWORD[:-1], f"{_PASSWORD} ", _PASSWORD.upper(), "", _text(dice), "x" * 100_000)
        body = _latin(dice.choice((f"password={dice.choice(words)}", _text(dice), f"password[]={_PASSWORD}")))
        with given, still:
            guard = guards.Door(_inside, passwords=door.passwords())
            for method in ("POST", "GET"):
                scope = _scope(dice, "http", method, _cookies(dice))
                if not _open(scope["path"]):
                    _require_shut(_asked(guard, scope, body), f"{body!r:.100} {scope!r:.200}")

    return answer


@add(160)
def origins(place: Path) -> Callable[[random.Random], None]:
    """The WebSocket of a page that another port or host served."""
    guard = guards.Origins(_inside)
    guard._told = set(map(str, range(guards._TOLD)))  # it has told enough of them
    hosts = ("localhost", "127.0.0.1", "[::1]", "node7", "localhost.evil.test", "evil.test", "localhost@evil.test")

    def answer(dice: random.Random) -> None:
        host = f"{dice.choice(hosts[:4])}:{dice.choice((8501, 80, 443))}"
        scheme, port = dice.choice(("http", "https", "file", "null", "")), dice.randrange(1, 70_000)
        origin = dice.choice(
            (f"{scheme}://{dice.choice(hosts)}:{port}", f"http://{dice.choice(hosts)}", _text(dice), "null")
        )
        headers = [(b"origin", _latin(origin)), (b"host", _latin(host))]
        parts = guards._host_and_port(_latin(origin).decode("latin-1"))
        scheme = urlsplit(origin).scheme if parts else ""
        own = parts is not None and parts == guards._host_and_port(f"{scheme}://{host}")
        if not own:
            _require_shut(_asked(guard, _scope(dice, "websocket", "GET", headers)), f"{origin!r:.200} at {host}")

    return answer
