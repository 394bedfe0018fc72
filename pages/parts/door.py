"""Who may come in: whoever opens the address that is printed at the start, or knows the server's password.

Whoever comes in acts as the user that runs the server: the field for one's own tasks runs their Python. A port of the
loopback interface is open to every user of the machine, so an access token stands in the printed address, and the
browser keeps it as a cookie. A server that other machines reach wants a password or a log-in before it starts; a
demonstration, which nobody can change, may stand open there.

The check stands before all that Streamlit serves: pages, uploads, media and the WebSocket.
"""

import asyncio
import hmac
import html
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

import streamlit as st
from starlette.middleware import Middleware

from cache import environment

TOKEN = "token"  # in the address
FORM = "password"
UPLOADS = "/_stcore/upload_file"
HEALTH = "/_stcore/health"  # asked by whatever watches over the server; it says "ok" and no more
LONGEST_FORM = 4096  # bytes
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a wrong password is answered: doubled by each in a row

_NEW_TOKEN = secrets.token_urlsafe(24)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SinkScope</title><meta name="color-scheme" content="light dark">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1.5rem}}
input,button{{font:inherit;padding:.4rem .7rem}}</style><h1>SinkScope</h1><p>{sentence}</p>{form}</html>"""
_FORM = """<form method="post"><label>Password <input name="password" type="password" autofocus
autocomplete="current-password"></label> <button>Come in</button></form>"""


def is_loopback(address: str | None) -> bool:
    """Whether a server bound to this address is reached from its own machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def token() -> str:
    """The access token of this server: SINKSCOPE_TOKEN, or a new one at every start; empty where `none` is wanted."""
    chosen = environment.value("SINKSCOPE_TOKEN")
    return _NEW_TOKEN if chosen is None else "" if chosen == "none" else str(chosen)


def why_closed(address: str | None) -> str:
    """Why a server bound to this address must not start, or nothing."""
    if is_loopback(address) or _password() or _has_log_in() or environment.value("SINKSCOPE_DEMO"):
        return ""
    return (
        f"SinkScope did not start: the address {address or '0.0.0.0'} is reached from other machines, where anybody "
        "could act as you. Set 'password' under [sinkscope] in .streamlit/secrets.toml, or a log-in under [auth] "
        "(docs/security.md), start it with --server.address localhost, or as a demonstration with SINKSCOPE_DEMO=1."
    )


def middleware() -> list[Middleware]:
    """What stands before Streamlit. Raises SystemExit where the server must not start."""
    try:
        address = st.get_option("server.address")
        closed = why_closed(address)
        if closed:
            raise SystemExit(closed)
        password, key = _password(), token()
        before = [Middleware(NoUploads)] if environment.value("SINKSCOPE_DEMO") else []
    except environment.VariableError as error:
        raise SystemExit(str(error)) from error
    if password:
        return [*before, Middleware(Door, key=_NEW_TOKEN, password=password)]
    if not key or not is_loopback(address):  # a log-in of Streamlit's, which `frame` asks for; or a demonstration
        return before
    return [*before, Middleware(Door, key=key)]


def addresses() -> list[str]:
    """The lines that tell where the server is, for its terminal."""
    address, key = st.get_option("server.address"), token()
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    base = f"{scheme}://{address or 'localhost'}:{st.get_option('server.port')}/"
    if _password() or not key or not is_loopback(address):
        return [base]
    return [f"{base}?{urlencode({TOKEN: key})}"]


def wants_log_in() -> bool:
    """Whether visitors of this server must log in through Streamlit first."""
    return not is_loopback(st.get_option("server.address")) and not _password() and _has_log_in()


def _password() -> str:
    return str(_secrets("sinkscope").get("password", ""))


def _has_log_in() -> bool:
    return bool(_secrets("auth"))


def _secrets(section: str) -> dict[str, Any]:
    if not any(map(os.path.exists, st.get_option("secrets.files"))):
        return {}
    values = st.secrets.get(section, {})
    return dict(values) if hasattr(values, "keys") else {}


class Door:
    """Lets a request through that carries the key in its cookie; else asks for the token or the password."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], key: str, password: str = "") -> None:
        self._app, self._key, self._password = app, key, password
        self._wrong = 0  # in a row, by anybody: an attacker has more than one address
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as ASGI wants it."""
        if scope["type"] == "lifespan" or scope.get("path") == HEALTH or self._is_known(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif self._password:
            await self._ask_password(scope, receive, send)
        else:
            await self._ask_token(scope, send)

    def _is_known(self, scope: Scope) -> bool:
        for name, content in scope.get("headers", []):
            if name != b"cookie":
                continue
            try:
                cookie = SimpleCookie(content.decode("latin-1"))
            except CookieError:
                continue
            if _cookie_name(scope) in cookie and _same(cookie[_cookie_name(scope)].value, self._key):
                return True
        return False

    async def _ask_token(self, scope: Scope, send: Send) -> None:
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = next((content for name, content in query if name == TOKEN), None)
        if given is not None and _same(given, self._key):
            await self._let_in(scope, send, [pair for pair in query if pair[0] != TOKEN])
            return
        told = "is not the one of this server" if given is not None else "is missing in this address"
        await _answer(
            send,
            403,
            f"The access token {told}. Open the address that SinkScope printed when it started, which ends in "
            "?token=…, once in this browser; all other addresses of this server work from then on.",
        )

    async def _ask_password(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _answer(send, 401, "This server wants its password.", _FORM)
            return
        given = dict(parse_qsl((await _body(receive)).decode("utf-8", "replace"))).get(FORM, "")
        async with self._turn:  # one at a time, so that many at once wait as long as one after the other
            right = _same(given, self._password)
            self._wrong = 0 if right else self._wrong + 1
            if not right:
                await asyncio.sleep(min(FIRST_DELAY * 2 ** min(self._wrong - 1, 10), LONGEST_DELAY))
        if right:
            query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            await self._let_in(scope, send, query)
        else:
            await _answer(send, 401, "That is not the password of this server. Try again.", _FORM)

    async def _let_in(self, scope: Scope, send: Send, query: list[tuple[str, str]]) -> None:
        """Gives the browser the key and leads it to the same address without the token."""
        # One slash at the beginning: with two, the browser would go to another server.
        where = "/" + scope["path"].lstrip("/") + (f"?{urlencode(query)}" if query else "")
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{_cookie_name(scope)}={self._key}; Path=/; HttpOnly; SameSite=Lax{secure}"
        headers = [(b"location", where.encode("ascii", "replace")), (b"set-cookie", cookie.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class NoUploads:
    """Refuses files, which no page of a demonstration takes and which would fill the server's memory."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as ASGI wants it."""
        if scope["type"] == "http" and str(scope.get("path", "")).startswith(UPLOADS):
            await _answer(send, 403, "This demonstration takes no files.")
        else:
            await self._app(scope, receive, send)


def _cookie_name(scope: Scope) -> str:
    """Cookies go by host alone: servers at several ports of one would take each other's."""
    server = scope.get("server") or ("", 0)
    return f"sinkscope-{server[1]}"


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= LONGEST_FORM:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:LONGEST_FORM]


async def _answer(send: Send, status: int, sentence: str, form: str = "") -> None:
    page = _PAGE.format(sentence=html.escape(sentence), form=form).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": page})
