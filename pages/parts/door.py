"""Who may come in: whoever opens the address that is printed at the start, knows a password, or is on a list.

A port of the loopback interface is open to every user of the machine, so an access token stands in the printed address,
and the browser keeps it as a cookie; whoever has it acts as the user that runs the server. A server that other machines
reach wants passwords or a log-in before it starts, and gives roles (`analysis.engine.permissions`); a demonstration,
which nobody can change, may stand open there.

The check stands before all that Streamlit serves: pages, uploads, media and the WebSocket.
"""

import asyncio
import base64
import contextlib
import hmac
import html
import importlib
import ipaddress
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import streamlit as st
from starlette.middleware import Middleware

from cache import environment
from cache.store import default_root
from pages.parts import uploads
from pages.parts.page_headers import Headers

TOKEN = "token"  # in the address
FORM = "password"
PASSWORDS = {"run": "password", "look": "look_password"}  # under [sinkscope] in the secrets, by role
KEY_FILE = "visitors.key"  # in the store: signs the cookies, so that visitors stay who they are after a restart
HEALTH = "/_stcore/health"  # asked by whatever watches over the server; it says "ok" and no more
LONGEST_FORM = 4096  # bytes
SHORTEST_SECRET = 32  # characters, of what signs the cookies of a log-in
YEAR = 365 * 86400  # seconds
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
    if mode() == "log-in" and not any(_listed(role) for role in PASSWORDS):
        return (
            "SinkScope did not start: a log-in is set up under [auth], and nobody may come in by it. List who may "
            "under [sinkscope] in .streamlit/secrets.toml, such as run = ['ada@example.org'] or look = "
            "['@example.org'] (docs/security.md)."
        )
    if mode() == "log-in" and 0 < len(str(_secrets("auth").get("cookie_secret", ""))) < SHORTEST_SECRET:
        return (
            "SinkScope did not start: whoever guesses 'cookie_secret' under [auth] comes in as anybody. Expected "
            f"{SHORTEST_SECRET} random characters or more: python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))'."
        )
    if mode() == "log-in" and not _can_log_in():
        return (
            "SinkScope did not start: a log-in is set up under [auth], and Authlib, which it takes, is not installed: "
            "pip install 'streamlit[auth]'."
        )
    if is_loopback(address) or mode() != "local":
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
        key = token()
        how = mode()
        before = [Middleware(Uploads, log_in=how == "log-in")] if how in ("demonstration", "log-in") else []
    except environment.VariableError as error:
        raise SystemExit(str(error)) from error
    before = [Middleware(Headers), *before]
    if mode() == "password":
        return [*before, Middleware(Door, passwords=_passwords())]
    if not key or mode() != "local":  # a log-in of Streamlit's, which `frame` asks for; or a demonstration
        return before
    return [*before, Middleware(Door, key=key)]


def addresses() -> list[str]:
    """The lines that tell where the server is, for its terminal."""
    address, key = st.get_option("server.address"), token()
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    path = str(st.get_option("server.baseUrlPath") or "").strip("/")
    base = f"{scheme}://{address or 'localhost'}:{st.get_option('server.port')}/" + (f"{path}/" if path else "")
    if not key or mode() != "local":
        return [base]
    return [f"{base}?{urlencode({TOKEN: key})}"]


def wants_log_in() -> bool:
    """Whether visitors of this server must log in through Streamlit first."""
    return mode() == "log-in"


def mode() -> str:
    """How visitors come in: `demonstration`, `password`, `log-in`, or `local`, where whoever comes in is the owner."""
    if environment.value("SINKSCOPE_DEMO"):
        return "demonstration"
    return "password" if _passwords() else "log-in" if _secrets("auth") else "local"


def role_of(address: str) -> str:
    """The role of an e-mail address by the lists of the secrets: run, look, or nothing. An entry of a list is an
    address, or a domain that begins with @."""
    wanted = address.strip().lower()
    domain = "@" + wanted.rpartition("@")[2]
    return next((role for role in PASSWORDS if wanted and {wanted, domain} & set(_listed(role))), "")


def trusts_addresses() -> bool:
    """Whether an address counts of which the provider does not say whether it is verified."""
    return _secrets("sinkscope").get("trust_addresses") is True


def _can_log_in() -> bool:
    """Whether the libraries of Streamlit's log-in are there: Authlib, and the HTTP client that it wants."""
    try:
        importlib.import_module("authlib.integrations.starlette_client")
    except ImportError:
        return False
    return True


def _listed(role: str) -> list[str]:
    entries = _secrets("sinkscope").get(role, [])
    named = (str(entry).strip().lower() for entry in ([entries] if isinstance(entries, str) else entries))
    return [entry for entry in named if entry.strip("@")]


def _passwords() -> dict[str, str]:
    """The passwords of the secrets by role; an empty one is none."""
    given = _secrets("sinkscope")
    return {role: str(given[name]) for role, name in PASSWORDS.items() if given.get(name)}


@cache
def _signing_key() -> bytes:
    """Signs cookies; kept in the store. One for this run alone where the store cannot be written."""
    try:
        file = default_root() / KEY_FILE
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            file.write_bytes(secrets.token_bytes(32))
        key = file.read_bytes()
    except OSError:
        key = b""
    return key if len(key) == 32 else secrets.token_bytes(32)


def _signature(role: str, visitor: str) -> str:
    # With the password in it: another password lets nobody in who knew only the one before.
    text = f"{role}\0{visitor}\0{_passwords().get(role, '')}".encode()
    return base64.urlsafe_b64encode(hmac.digest(_signing_key(), text, "sha256")).decode().rstrip("=")


def signed(role: str, visitor: str) -> str:
    """The value of the cookie of a visitor who came in by a role's password."""
    return f"{role}.{visitor}.{_signature(role, visitor)}"


def recognised(value: str) -> tuple[str, str] | None:
    """Role and name of the visitor whose cookie this is, or None for a value that this server did not give."""
    role, _, rest = value.partition(".")
    visitor, _, signature = rest.partition(".")
    known = (
        role in _passwords() and re.fullmatch(r"[0-9a-f]{16}", visitor) and _same(signature, _signature(role, visitor))
    )
    return (role, visitor) if known else None


def _secrets(section: str) -> dict[str, Any]:
    if not any(map(os.path.exists, st.get_option("secrets.files"))):
        return {}
    values = st.secrets.get(section, {})
    return dict(values) if hasattr(values, "keys") else {}


class Door:
    """Lets a request through that carries the right cookie; else asks for the token, or for a password.

    key: the token, where that is asked for. passwords: by the role that each gives; they must be those of the secrets.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        key: str = "",
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self._app, self._key, self._passwords = app, key, dict(passwords or {})
        self._wrong = 0  # in a row, by anybody: an attacker has more than one address
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as ASGI wants it."""
        if scope["type"] == "lifespan" or scope.get("path") == HEALTH:
            await self._app(scope, receive, send)
        elif self._is_known(scope):
            if uploads.are_in(scope.get("path", "")) and self._role(scope) == "look":
                await _answer(send, 403, "You may look at this server; it takes no files from you.")
            else:
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif self._passwords:
            await self._ask_password(scope, receive, send)
        else:
            await self._ask_token(scope, send)

    def _is_known(self, scope: Scope) -> bool:
        if self._passwords:
            return bool(self._role(scope))
        return any(_same(value, self._key) for value in _cookies(scope))

    def _role(self, scope: Scope) -> str:
        """The role of the visitor who sends a request; nothing for a stranger, or where roles are not given."""
        known = (recognised(value) for value in _cookies(scope)) if self._passwords else ()
        return next((found[0] for found in known if found is not None), "")

    async def _ask_token(self, scope: Scope, send: Send) -> None:
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = next((content for name, content in query if name == TOKEN), None)
        if given is not None and _same(given, self._key):
            await self._let_in(scope, send, [pair for pair in query if pair[0] != TOKEN], self._key)
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
            matches = [role for role, password in self._passwords.items() if _same(given, password)]
            right = bool(matches)
            self._wrong = 0 if right else self._wrong + 1
            if not right:
                await asyncio.sleep(min(FIRST_DELAY * 2 ** min(self._wrong - 1, 10), LONGEST_DELAY))
        if right:
            query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            await self._let_in(scope, send, query, signed(matches[0], secrets.token_hex(8)), YEAR)
        else:
            await _answer(send, 401, "That is not the password of this server. Try again.", _FORM)

    async def _let_in(
        self, scope: Scope, send: Send, query: list[tuple[str, str]], value: str, seconds: int | None = None
    ) -> None:
        """Gives the browser the cookie, for so long, and leads it to the same address without the token."""
        # One slash at the beginning: with two, the browser would go to another server. Quoted, as the end of a line
        # would begin another header.
        path = quote(scope["path"].lstrip("/"), errors="replace")
        where = f"/{path}" + (f"?{urlencode(query)}" if query else "")
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        kept = "" if seconds is None else f"; Max-Age={seconds}"
        cookie = f"{_name_for(scope)}={value}; Path=/; HttpOnly; SameSite=Lax{kept}{secure}"
        headers = [(b"location", where.encode("ascii", "replace")), (b"set-cookie", cookie.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class Uploads:
    """Refuses files, which would fill the server's memory: all in a demonstration, with a log-in those of visitors who
    may not run."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], log_in: bool) -> None:
        self._app, self._log_in = app, log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as ASGI wants it."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not uploads.are_in(path):
            await self._app(scope, receive, send)
        elif not self._log_in:
            await _answer(send, 403, "This demonstration takes no files.")
        elif not uploads.may_send(path):
            await _answer(send, 403, "You may look at this server; it takes no files from you.")
        else:
            await self._app(scope, receive, send)


def cookie_name(port: int) -> str:
    """Cookies go by host alone: servers at several ports of one would take each other's."""
    return f"sinkscope-{port}"


def _name_for(scope: Scope) -> str:
    return cookie_name((scope.get("server") or ("", 0))[1])


def _cookies(scope: Scope) -> list[str]:
    """The values of this server's cookie that a request carries."""
    name = _name_for(scope)
    values = []
    for header, content in scope.get("headers", []):
        if header == b"cookie":
            with contextlib.suppress(CookieError):
                cookie = SimpleCookie(content.decode("latin-1"))
                values += [cookie[name].value] if name in cookie else []
    return values


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
