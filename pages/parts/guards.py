"""Middleware before everything Streamlit serves, pages, uploads, media and the WebSocket: the door, the check of a
WebSocket's origin, and the refusal of files. Wrong passwords are answered late.
"""

import asyncio
import html
import ipaddress
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import streamlit as st
from starlette.middleware import Middleware

from cache import environment
from pages.parts import door, plotly_script, private_path, uploads
from pages.parts.page_headers import Headers

FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds before a wrong password is answered: doubled by each in a row
AT_ONCE = 4  # attempts of one address that are looked at or wait; the rest are sent away at once
REMEMBERED = 10_000  # addresses


@dataclass
class Attempts:
    """Attempts of one address. wrong: in a row. pending: checked or waiting, one at a time."""

    wrong: int = 0
    pending: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answer(self, right: bool) -> None:
        """Wait before answering a password, by how many in a row were wrong."""
        self.wrong = 0 if right else self.wrong + 1
        if not right:
            await asyncio.sleep(min(FIRST_DELAY * 2 ** min(self.wrong - 1, 10), LONGEST_DELAY))


class AttemptsByAddress:
    """The attempts of every address that guessed lately."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, Attempts] = OrderedDict()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[Attempts | None]:
        """Wait until the attempts before this one are answered; None where too many wait already.

        An attempt waits for at most AT_ONCE - 1 others, each answered within LONGEST_DELAY.
        """
        name = neighbourhood(address)
        attempts = self._by_address.setdefault(name, Attempts())
        self._by_address.move_to_end(name)
        if attempts.pending >= AT_ONCE:
            yield None
            return
        attempts.pending += 1
        try:
            async with attempts.turn:
                yield attempts
        finally:
            attempts.pending -= 1
            self._forget()

    def _forget(self) -> None:
        """Drop the addresses that were quiet for longest, and those that have nothing to remember."""
        for name in list(self._by_address):
            attempts = self._by_address[name]
            if len(self._by_address) <= REMEMBERED:
                break
            if not attempts.pending:
                del self._by_address[name]


def neighbourhood(address: str) -> str:
    """Return what counts as one address: of IPv6 the network, of which one machine has every address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.ipv4_mapped:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


FORM = "password"
HEALTH = "/_stcore/health"  # asked by whatever watches over the server; it says "ok" and no more
LONGEST_FORM = 4096  # bytes
YEAR = 365 * 86400  # seconds
_TOLD = 100  # refused origins named in the server's log, each once

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PAGE = """<!doctype html><html lang="en"{attributes}><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>SinkScope</title><meta name="color-scheme" content="light dark">{script}
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1.5rem}}
input,button{{font:inherit;padding:.4rem .7rem}}</style><h1>SinkScope</h1><p>{sentence}</p>{more}</html>"""
_FORM = """<form method="post" action="{action}"><label>Password <input name="password" type="password" autofocus
autocomplete="current-password"></label> <button>Log in</button></form>"""


def middleware() -> list[Middleware]:
    """Return the middleware. Raises SystemExit if the server must not start."""
    try:
        address = st.get_option("server.address")
        closed = door.why_closed(address)
        if closed:
            raise SystemExit(closed)
        key = door.token()
        how = door.mode()
        before = [Middleware(Uploads, log_in=how == "log-in")] if how in ("demonstration", "log-in") else []
    except environment.VariableError as error:
        raise SystemExit(str(error)) from error
    before = [Middleware(Headers), Middleware(Departures), Middleware(Origins), *before]
    if how == "password":
        return [*before, Middleware(Door, passwords=door.passwords())]
    if not key or how != "local":  # a log-in of Streamlit's, which `frame` asks for; or a demonstration
        return before
    return [*before, Middleware(Door, key=key)]


class Door:
    """Let requests through that carry the right cookie; else ask for the token, or for a password.

    key: the token, if that is asked for. passwords: by the role that each gives; must be those of the secrets.
    """

    def __init__(self, app: App, key: str = "", passwords: Mapping[str, str] | None = None) -> None:
        self._app, self._key, self._passwords = app, key, dict(passwords or {})
        self._attempts = AttemptsByAddress()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        segment, path = private_path.divide(scope.get("path", ""))
        inside = {**scope, "path": path, "raw_path": quote(path, errors="replace").encode()}
        if scope["type"] == "websocket":
            if self._is_known(scope):
                await self._app(inside, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
        elif path in (HEALTH, private_path.base_path() + HEALTH, plotly_script.address()):
            await self._app(inside, receive, send)
        else:
            await self._answer(scope, inside, segment, receive, send)

    async def _answer(self, scope: Scope, inside: Scope, segment: str, receive: Receive, send: Send) -> None:
        """Answer a request that is no WebSocket; inside: as the app sees it, without the private segment."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = next((content for name, content in query if name == door.TOKEN), None) if self._key else None
        posted = self._passwords and scope["method"] == "POST" and not self._is_known(scope)
        right = given is not None and door.same(given, self._key)
        if (right or posted) and private_path.is_below_base(scope["path"]):
            if not segment:  # the cookie is set by requests below one
                await _redirect(send, private_path.relative(scope["path"], private_path.fresh_segment()), scope)
            elif posted:
                await self._take_password(scope, receive, send, segment)
            else:
                await _let_in(scope, send, segment, self._key)
        elif self._is_known(scope):
            if segment and inside["path"] == private_path.base_path():  # Streamlit's page names its parts from here
                await _redirect(send, f"{segment}/", scope)
            elif uploads.are_in(inside["path"]) and self._role(scope) == "look":
                await _refuse(send, 403, "You may look at this server; it takes no files from you.")
            else:
                await self._app(inside, receive, send)
        elif self._passwords:
            await _refuse(send, 401, "Enter the password of this server.", _form(scope), seek=True)
        else:
            told = "is not the one of this server" if given is not None else "is missing in this address"
            await _refuse(
                send,
                403,
                f"The access token {told}. Open the address that SinkScope printed when it started, which ends in "
                "?token=…, once in this browser; all other addresses of this server work from then on.",
                seek=True,
            )

    def _is_known(self, scope: Scope) -> bool:
        return any(map(self._opens, _cookies(scope)))

    def _opens(self, value: str) -> bool:
        """Return whether this cookie value lets in."""
        return door.recognised(value) is not None if self._passwords else door.same(value, self._key)

    def _role(self, scope: Scope) -> str:
        """Return the role of the visitor who sends a request; '' for a stranger, or without roles."""
        known = (door.recognised(value) for value in _cookies(scope)) if self._passwords else ()
        return next((found[0] for found in known if found is not None), "")

    async def _take_password(self, scope: Scope, receive: Receive, send: Send, segment: str) -> None:
        given = dict(parse_qsl((await _body(receive)).decode("utf-8", "replace"))).get(FORM, "")
        async with self._attempts.turn((scope.get("client") or ("",))[0]) as attempts:
            if attempts is None:
                await _refuse(
                    send,
                    429,
                    "Too many passwords were sent from your network address at once. Try again in "
                    f"{LONGEST_DELAY:.0f} seconds.",
                    _form(scope),
                )
                return
            matches = [role for role, password in self._passwords.items() if door.same(given, password)]
            await attempts.answer(bool(matches))
        if matches:
            await _let_in(scope, send, segment, door.signed(matches[0], secrets.token_hex(8)), YEAR)
        else:
            await _refuse(send, 401, "Wrong password. Try again.", _form(scope))


class Origins:
    """Refuses the WebSocket to a page of another origin. Streamlit compares the hosts alone, and every other port of
    this machine serves pages of the same host."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        if scope["type"] != "websocket" or self._is_own(_header(scope, b"origin"), _header(scope, b"host")):
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    def _is_own(self, origin: str | None, host: str | None) -> bool:
        """Return whether this host and port served the page of this origin. Only browsers send an origin."""
        if origin is None or not st.get_option("server.enableCORS"):
            return True
        if origin in {str(allowed).strip() for allowed in st.get_option("server.corsAllowedOrigins")}:
            return True
        own = _host_and_port(origin)
        if own is not None and own == _host_and_port(f"{urlsplit(origin).scheme}://{host}"):
            return True
        if origin not in self._told and len(self._told) < _TOLD:
            self._told.add(origin)
            logging.getLogger(__name__).warning(
                "A page of %r was refused: it was asked for as %r. Behind a proxy, have it pass the Host on as it is, "
                "or name the origin in server.corsAllowedOrigins.",
                origin[:200],
                (host or "")[:200],
            )
        return False


class Departures:
    """End the WebSocket of a closed tab without an entry in the server's log. If a message is on its way to it,
    Streamlit closes it again, which the server would log as an error of the app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        has_left = False

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal has_left
            try:
                await send(message)
            except OSError:
                has_left = True
                raise

        try:
            await self._app(scope, receive, sent)
        except RuntimeError:
            if not has_left:
                raise


class Uploads:
    """Refuses files, which would fill the server's memory: all in a demonstration, with a log-in those of visitors who
    may not run."""

    def __init__(self, app: App, log_in: bool) -> None:
        self._app, self._log_in = app, log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not uploads.are_in(path):
            await self._app(scope, receive, send)
        elif not self._log_in:
            await _refuse(send, 403, "This demonstration takes no files.")
        elif not uploads.may_send(path):
            await _refuse(send, 403, "You may look at this server; it takes no files from you.")
        else:
            await self._app(scope, receive, send)


def _header(scope: Scope, name: bytes) -> str | None:
    return next((content.decode("latin-1") for key, content in scope.get("headers", []) if key == name), None)


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Return the host and the port of an address, or None if it has none."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _port(scope: Scope) -> int:
    return (scope.get("server") or ("", 0))[1]


def _cookies(scope: Scope) -> list[str]:
    """Return this server's cookie values in a request."""
    sent = (content.decode("latin-1") for key, content in scope.get("headers", []) if key == b"cookie")
    return private_path.cookie_values(sent, private_path.cookie_name(_port(scope)))


def _query(scope: Scope) -> str:
    """Return the query of an address without the token, with its question mark."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    query = urlencode([pair for pair in pairs if pair[0] != door.TOKEN])
    return f"?{query}" if query else ""


def _form(scope: Scope) -> str:
    """Return the form for a password, posted to a secret segment: whoever sends it is let in there."""
    action = private_path.relative(scope["path"], private_path.fresh_segment()) + _query(scope)
    return _FORM.format(action=html.escape(action))


async def _redirect(send: Send, where: str, scope: Scope) -> None:
    """Lead to another path, with the query as it is; 307, so that a form goes along."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    where += f"?{urlencode(pairs)}" if pairs else ""
    headers = [(b"location", where.encode()), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _let_in(scope: Scope, send: Send, segment: str, value: str, seconds: int | None = None) -> None:
    """Give the browser the cookie for the paths below the segment, for so long, and lead it there.

    Below the segment the cookie names no path: the browser takes that of the address as it knows it, which a proxy may
    serve under another one.
    """
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    kept = "" if seconds is None else f"; Max-Age={seconds}"
    cookie = f"{private_path.cookie_name(_port(scope))}={value}; HttpOnly; SameSite=Lax{kept}{secure}"
    address = private_path.relative(scope["path"], segment) + _query(scope)
    link = f'<p><a href="{html.escape(address)}">Go on to SinkScope</a></p>'
    await _send_page(
        send,
        200,
        "You are logged in.",
        link,
        private_path.attributes(segment, address),
        [(b"set-cookie", cookie.encode("latin-1"))],
    )


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= LONGEST_FORM:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:LONGEST_FORM]


async def _refuse(send: Send, status: int, sentence: str, form: str = "", seek: bool = False) -> None:
    """Answer with a sentence. seek: lead the browser to where it was let in before."""
    await _send_page(send, status, sentence, form, private_path.attributes(seek=seek), [])


async def _send_page(
    send: Send, status: int, sentence: str, more: str, attributes: str, headers: list[tuple[bytes, bytes]]
) -> None:
    page = _PAGE.format(attributes=attributes, script=private_path.SCRIPT, sentence=html.escape(sentence), more=more)
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", private_path.POLICY.encode()),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": page.encode()})
