"""Access control: visitors come in with the address printed at the start, a password, or a place on a list, and stay
below a private part of the address. `guards` puts it before everything Streamlit serves.

A port of the loopback interface is open to every user of the machine, so the printed address holds an access token, and
the browser keeps it as a cookie; whoever has it acts as the user that runs the server. A server that other machines
reach needs passwords or a log-in to start, and gives roles (`analysis.engine.permissions`); a demonstration, which
nobody can change, may be open there.

A browser sends a cookie to every port of a host, so any other service of this machine would receive it, and could act
as the visitor. It does not send it to other paths. So whoever is let in gets a random first segment of the path,
`/~<random>/`, and the cookie is set for the paths below it alone: another port does not know the segment. An address
without the segment works, too: the browser's storage, which knows ports, remembers the segment, and a small script
leads there. The segment alone opens nothing.
"""

import base64
import contextlib
import errno
import hashlib
import hmac
import html
import importlib
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import streamlit as st

from cache import environment
from cache.store import default_root

_SEGMENT = re.compile(r"~[A-Za-z0-9_-]{16}")

# Remembers the segment where `data-next` says that the browser is let in; where `data-seek` says that it is refused,
# leads on to the segment that it was let in by before.
_SCRIPT = r"""
const root = document.documentElement, parts = location.pathname.split("/"), page = parts.pop();
const segment = /^~[\w-]{16}$/, here = segment.test(parts.at(-1)) ? parts.pop() : "";
const base = parts.join("/") + "/", name = "sinkscope" + base;
let next = root.dataset.next;
try {
  if (next) localStorage.setItem(name, root.dataset.segment);
  const known = localStorage.getItem(name);
  const seeks = "seek" in root.dataset && known !== here && segment.test(known);
  if (seeks) next = `${base}${known}/${page}${location.search}`;
} catch {} // the browser keeps nothing for this server
if (next) { root.hidden = true; location.replace(next + location.hash); }
"""
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
SCRIPT = f"<script>{_SCRIPT}</script>"
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'; form-action 'self'"


def base_path() -> str:
    """Return the path that this server is served under: empty, or `/name`."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""


def fresh_segment() -> str:
    """Return a random segment."""
    return f"~{secrets.token_urlsafe(12)}"


def divide(path: str) -> tuple[str, str]:
    """Split a path into its private segment, empty where it has none, and the path without it."""
    base = base_path()
    first, slash, rest = path.removeprefix(base).removeprefix("/").partition("/")
    if not is_below_base(path) or not _SEGMENT.fullmatch(first):
        return "", path
    return first, f"{base}{slash}{rest}"


def is_below_base(path: str) -> bool:
    """Return whether a path is below this server's base path."""
    return path.startswith(f"{base_path()}/")


def relative(path: str, segment: str) -> str:
    """Return the address of the same page below a segment, relative to a path as a request names it.

    It is relative, so that it also holds behind a proxy that serves this server under another path, and never names
    another server.
    """
    depth = path.removeprefix(base_path()).count("/") - 1
    page = quote(path.rpartition("/")[2], safe="", errors="replace")
    return "../" * depth + f"{segment}/{page}"


def cookie_name(port: int) -> str:
    """Name the cookie of the server at a port: cookies of several servers of one host can meet in one request."""
    return f"sinkscope-key-{port}"


def cookie_values(headers: Iterable[str], name: str) -> list[str]:
    """Return every value of a cookie, as another port of the host may set a second one of the same name."""
    pairs = (part.partition("=") for header in headers for part in header.split(";"))
    return [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]


def attributes(segment: str = "", next_address: str = "", seek: bool = False) -> str:
    """Return what the page's root says to the script."""
    if next_address:
        return f' data-segment="{html.escape(segment)}" data-next="{html.escape(next_address)}"'
    return " data-seek" if seek else ""


TOKEN = "token"  # in the address
PASSWORDS = {"run": "password", "look": "look_password"}  # under [sinkscope] in the secrets, by role
KEY_FILE = "visitors.key"  # in the store: signs the cookies, so that visitors stay who they are after a restart
KEY_BYTES = 32
SHORTEST_SECRET = 32  # characters, of the secret that signs the cookies of a log-in

_NEW_TOKEN = secrets.token_urlsafe(24)
_held: dict[int, socket.socket] = {}  # occupied ports of [::1]


def is_loopback(address: str | None) -> bool:
    """Return whether only its own machine reaches a server bound to this address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def token() -> str:
    """Return this server's access token: SINKSCOPE_TOKEN, or a new one at every start; empty if set to `none`."""
    chosen = environment.value("SINKSCOPE_TOKEN")
    return _NEW_TOKEN if chosen is None else "" if chosen == "none" else str(chosen)


def why_closed(address: str | None) -> str:
    """Return why a server bound to this address must not start, or ''."""
    how = mode()
    if how == "log-in":
        if not any(_listed(role) for role in PASSWORDS):
            return (
                "SinkScope did not start: a log-in is set up under [auth], and nobody may come in by it. List who may "
                "under [sinkscope] in .streamlit/secrets.toml, such as run = ['ada@example.org'] or look = "
                "['@example.org'] (docs/security.md)."
            )
        if 0 < len(str(_secrets("auth").get("cookie_secret", ""))) < SHORTEST_SECRET:
            return (
                "SinkScope did not start: whoever guesses 'cookie_secret' under [auth] comes in as anybody. Expected "
                f"{SHORTEST_SECRET} random characters or more: python -c 'import secrets; "
                "print(secrets.token_urlsafe(32))'."
            )
        if not _can_log_in():
            return (
                "SinkScope did not start: a log-in is set up under [auth], and Authlib, which it takes, is not "
                "installed: pip install 'streamlit[auth]'."
            )
    if is_loopback(address) or how != "local":
        return ""
    return (
        f"SinkScope did not start: the address {address or '0.0.0.0'} is reached from other machines, where anybody "
        "could act as you. Set 'password' under [sinkscope] in .streamlit/secrets.toml, or a log-in under [auth] "
        "(docs/security.md), start it with --server.address localhost, or as a demonstration with SINKSCOPE_DEMO=1."
    )


def hold_localhost() -> bool:
    """Occupy the port of [::1] if the server only has that of 127.0.0.1, and return whether that worked.

    Browsers try `localhost` at [::1] first: another user listening there would receive the token. Nothing answers at
    the occupied port, so browsers go on to 127.0.0.1 at once.
    """
    port = int(st.get_option("server.port"))
    if st.get_option("server.address") != "localhost" or port in _held or not socket.has_ipv6:
        return True
    with contextlib.ExitStack() as unless_held:
        try:
            holder = unless_held.enter_context(socket.socket(socket.AF_INET6))
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            holder.bind(("::1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # else this machine has no IPv6
        unless_held.pop_all()
    _held[port] = holder
    return True


def addresses() -> list[str]:
    """Return the terminal's lines with the server's address."""
    address, key = st.get_option("server.address") or "localhost", token()
    if not hold_localhost():
        address = "127.0.0.1"
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    base = f"{scheme}://{address}:{st.get_option('server.port')}{base_path()}/"
    if not key or mode() != "local":
        return [base]
    return [f"{base}?{urlencode({TOKEN: key})}"]


def wants_log_in() -> bool:
    """Return whether visitors must log in through Streamlit first."""
    return mode() == "log-in"


def mode() -> str:
    """Return how visitors come in: `demonstration`, `password`, `log-in`, or `local`, where every visitor is the
    owner.
    """
    if is_demonstration():
        return "demonstration"
    return "password" if passwords() else "log-in" if _secrets("auth") else "local"


@cache
def is_demonstration() -> bool:
    """Return whether this server was started as a demonstration."""
    return bool(environment.value("SINKSCOPE_DEMO"))


def role_of(address: str) -> str:
    """Return the role of an e-mail address by the lists of the secrets: run, look, or ''. An entry of a list is an
    address, or a domain that begins with @.
    """
    wanted = address.strip().lower()
    domain = "@" + wanted.rpartition("@")[2]
    return next((role for role in PASSWORDS if wanted and {wanted, domain} & set(_listed(role))), "")


def trusts_addresses() -> bool:
    """Return whether to accept addresses that the provider does not report as verified."""
    return _secrets("sinkscope").get("trust_addresses") is True


def _can_log_in() -> bool:
    """Return whether the libraries of Streamlit's log-in are installed: Authlib and its HTTP client."""
    try:
        importlib.import_module("authlib.integrations.starlette_client")
    except ImportError:
        return False
    return True


def _listed(role: str) -> list[str]:
    entries = _secrets("sinkscope").get(role, [])
    named = (str(entry).strip().lower() for entry in ([entries] if isinstance(entries, str) else entries))
    return [entry for entry in named if entry.strip("@")]


def passwords() -> dict[str, str]:
    """Return the passwords of the secrets by role; empty ones are ignored."""
    given = _secrets("sinkscope")
    return {role: str(given[name]) for role, name in PASSWORDS.items() if given.get(name)}


@cache
def _signing_key() -> bytes:
    """Return the key that signs cookies, from the store or, if that is read-only, for this run."""
    try:
        file = default_root() / KEY_FILE
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = file.read_bytes() if file.exists() else b""
        if len(key) != KEY_BYTES:  # none yet, or cut short by a full disk or a kill
            new = file.with_name(f".{KEY_FILE}.{os.getpid()}")
            new.touch(0o600)
            new.write_bytes(secrets.token_bytes(KEY_BYTES))
            new.replace(file)
            key = file.read_bytes()  # if two start at once, one key is kept
    except OSError:
        key = b""
    return key if len(key) == KEY_BYTES else secrets.token_bytes(KEY_BYTES)


def _signature(role: str, visitor: str) -> str:
    # Includes the password, so that a new one shuts out visitors who only knew the old one.
    text = f"{role}\0{visitor}\0{passwords().get(role, '')}".encode()
    return base64.urlsafe_b64encode(hmac.digest(_signing_key(), text, "sha256")).decode().rstrip("=")


def signed(role: str, visitor: str) -> str:
    """Return the cookie value of a visitor who came in by a role's password."""
    return f"{role}.{visitor}.{_signature(role, visitor)}"


def recognised(value: str) -> tuple[str, str] | None:
    """Return role and name of the visitor with this cookie, or None for a value not issued by this server."""
    role, _, rest = value.partition(".")
    visitor, _, signature = rest.partition(".")
    known = (
        role in passwords() and re.fullmatch(r"[0-9a-f]{16}", visitor) and same(signature, _signature(role, visitor))
    )
    return (role, visitor) if known else None


def _secrets(section: str) -> dict[str, Any]:
    if not any(map(os.path.exists, st.get_option("secrets.files"))):
        return {}
    values = st.secrets.get(section, {})
    return dict(values) if hasattr(values, "keys") else {}


def same(given: str, right: str) -> bool:
    """Compare two texts in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())
