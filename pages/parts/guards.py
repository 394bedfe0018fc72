"""Middleware before everything Streamlit serves, pages, uploads, media and the WebSocket: the door, the check of a
WebSocket's origin, the headers of every answer, and the refusal of files.

Wrong passwords are answered late. Headers limit whose scripts run, and forbid framing a page. Streamlit takes files
from every session, even before a log-in, into its memory before any page sees them. So a demonstration takes none, and
a server with a log-in takes them only from sessions whose page was drawn for the role run.
"""

import asyncio
import base64
import hashlib
import html
import ipaddress
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cache import environment
from pages.parts import door, plotly_script

PATH = "/_stcore/upload_file/"  # then the session and the file; before it the server's base path, if it has one
_REMEMBERED = 10_000  # sessions
_senders: OrderedDict[str, None] = OrderedDict()


def are_in(path: str) -> bool:
    """Return whether a path is that of an upload."""
    return PATH in f"{path}/"


def allow(session: str, role: str) -> None:
    """Register the role that a session's page is drawn for."""
    _senders.pop(session, None)
    if role == "run":
        _senders[session] = None
        if len(_senders) > _REMEMBERED:
            _senders.popitem(last=False)


def may_send(path: str) -> bool:
    """Return whether the session in a path may send files."""
    return path.partition(PATH)[2].partition("/")[0] in _senders


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


class PageHeaders:
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
_NO_FILES = "You may look at this server; it takes no files from you."
_CLOSE: Message = {"type": "websocket.close", "code": 1008}
_PAGE = """<!doctype html><html lang="en"{attributes}><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>SinkScope</title><meta name="color-scheme" content="light dark">{script}
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1.5rem}}
p{{text-wrap:pretty}}
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
    before = [Middleware(PageHeaders), Middleware(Departures), Middleware(Origins), *before]
    if how == "password":
        return [*before, Middleware(Door, passwords=door.passwords())]
    if not key or how != "local":  # a log-in of Streamlit's, which `frame` asks for; or a demonstration
        return before
    return [*before, Middleware(Door, key=key)]


class Door:
    """Let requests through that carry the right cookie; else ask for the token, or for a password.

    key: the token, if that is asked for. passwords: by the role that each gives; must be those of the secrets.
    """

    def __init__(self, app: ASGIApp, key: str = "", passwords: Mapping[str, str] | None = None) -> None:
        self._app, self._key, self._passwords = app, key, dict(passwords or {})
        self._attempts = AttemptsByAddress()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        segment, path = door.divide(scope.get("path", ""))
        inside = {**scope, "path": path, "raw_path": quote(path, errors="replace").encode()}
        if scope["type"] == "websocket":
            if self._is_known(scope):
                await self._app(inside, receive, send)
            else:
                await receive()
                await send(_CLOSE)
            return
        is_open = path in (HEALTH, door.base_path() + HEALTH, plotly_script.address())
        answer = None if is_open else await self._instead(scope, path, segment, receive)
        await (answer or self._app)(inside, receive, send)

    async def _instead(self, scope: Scope, path: str, segment: str, receive: Receive) -> Response | None:
        """Return what answers a request that is no WebSocket in the app's place. path: without the private segment."""
        tokens = _query(scope).getlist(door.TOKEN) if self._key else []
        known = self._is_known(scope)
        posted = self._passwords and scope["method"] == "POST" and not known
        if (posted or (tokens and door.same(tokens[0], self._key))) and door.is_below_base(scope["path"]):
            if not segment:  # the cookie is set by requests below one
                return _redirect(door.relative(scope["path"], door.fresh_segment()), scope)
            return await self._take_password(scope, receive, segment) if posted else _let_in(scope, segment, self._key)
        if known:
            if segment and path == door.base_path():  # Streamlit's page names its parts from here
                return _redirect(f"{segment}/", scope)
            return _refusal(403, _NO_FILES) if are_in(path) and self._role(scope) == "look" else None
        if self._passwords:
            return _refusal(401, "Enter the password of this server.", _form(scope), seek=True)
        told = "is not the one of this server" if tokens else "is missing in this address"
        return _refusal(
            403,
            f"The access token {told}. Open the address that SinkScope printed when it started, which ends in "
            "?\u2060token=…, once in this browser; all other addresses of this server work from then on.",
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

    async def _take_password(self, scope: Scope, receive: Receive, segment: str) -> Response:
        given = dict(parse_qsl((await _body(receive)).decode("utf-8", "replace"))).get(FORM, "")
        async with self._attempts.turn((scope.get("client") or ("",))[0]) as attempts:
            if attempts is None:
                return _refusal(
                    429,
                    "Too many passwords were sent from your network address at once. Try again in "
                    f"{LONGEST_DELAY:.0f} seconds.",
                    _form(scope),
                )
            matches = [role for role, password in self._passwords.items() if door.same(given, password)]
            await attempts.answer(bool(matches))
        if matches:
            return _let_in(scope, segment, door.signed(matches[0], secrets.token_hex(8)), YEAR)
        return _refusal(401, "Wrong password. Try again.", _form(scope))


@dataclass
class Origins:
    """Refuses the WebSocket to a page of another origin. Streamlit compares the hosts alone, and every other port of
    this machine serves pages of the same host."""

    app: ASGIApp
    _told: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        headers = Headers(raw=scope.get("headers", []))
        if scope["type"] != "websocket" or self._is_own(headers.get("origin"), headers.get("host")):
            await self.app(scope, receive, send)
            return
        await receive()
        await send(_CLOSE)

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


@dataclass
class Departures:
    """End the WebSocket of a closed tab without an entry in the server's log. If a message is on its way to it,
    Streamlit closes it again, which the server would log as an error of the app.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        has_left = False

        async def sent(message: Message) -> None:
            nonlocal has_left
            try:
                await send(message)
            except OSError:
                has_left = True
                raise

        try:
            await self.app(scope, receive, sent)
        except RuntimeError:
            if not has_left:
                raise


@dataclass
class Uploads:
    """Refuses files, which would fill the server's memory: all in a demonstration, with a log-in those of visitors who
    may not run."""

    app: ASGIApp
    log_in: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI wants it."""
        path = str(scope.get("path", ""))
        answer = self.app
        if scope["type"] == "http" and are_in(path):
            if not self.log_in:
                answer = _refusal(403, "This demonstration takes no files.")
            elif not may_send(path):
                answer = _refusal(403, _NO_FILES)
        await answer(scope, receive, send)


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
    sent = Headers(raw=scope.get("headers", [])).getlist("cookie")
    return door.cookie_values(sent, door.cookie_name(_port(scope)))


def _query(scope: Scope) -> QueryParams:
    return QueryParams(scope.get("query_string", b""))


def _without_token(scope: Scope) -> str:
    """Return the query of an address without the token, with its question mark."""
    query = urlencode([pair for pair in _query(scope).multi_items() if pair[0] != door.TOKEN])
    return f"?{query}" if query else ""


def _form(scope: Scope) -> str:
    """Return the form for a password, posted to a secret segment: whoever sends it is let in there."""
    action = door.relative(scope["path"], door.fresh_segment()) + _without_token(scope)
    return _FORM.format(action=html.escape(action))


def _redirect(where: str, scope: Scope) -> Response:
    """Lead to another path, with the query as it is; 307, so that a form goes along."""
    query = str(_query(scope))
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return RedirectResponse(f"{where}?{query}" if query else where, 307, headers)


def _let_in(scope: Scope, segment: str, value: str, seconds: int | None = None) -> Response:
    """Give the browser the cookie for the paths below the segment, for so long, and lead it there.

    Below the segment the cookie names no path: the browser takes that of the address as it knows it, which a proxy may
    serve under another one.
    """
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    kept = "" if seconds is None else f"; Max-Age={seconds}"
    cookie = f"{door.cookie_name(_port(scope))}={value}; HttpOnly; SameSite=Lax{kept}{secure}"
    address = door.relative(scope["path"], segment) + _without_token(scope)
    link = f'<p><a href="{html.escape(address)}">Continue to SinkScope</a></p>'
    page = _page(200, "You are logged in.", link, door.attributes(segment, address))
    page.headers["set-cookie"] = cookie
    return page


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= LONGEST_FORM:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:LONGEST_FORM]


def _refusal(status: int, sentence: str, form: str = "", seek: bool = False) -> Response:
    """Answer with a sentence. seek: lead the browser to where it was let in before."""
    return _page(status, sentence, form, door.attributes(seek=seek))


def _page(status: int, sentence: str, more: str, attributes: str) -> Response:
    page = _PAGE.format(attributes=attributes, script=door.SCRIPT, sentence=html.escape(sentence), more=more)
    headers = {
        "cache-control": "no-store",
        "content-security-policy": door.POLICY,
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
    }
    return HTMLResponse(page, status, headers)
