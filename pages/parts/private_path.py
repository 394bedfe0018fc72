"""The private part of an address, `/~<random>/`, which keeps the cookie that lets a browser in from other ports.

A browser sends a cookie to every port of a host, so any other service of this machine would receive it, and could act
as the visitor. It does not send it to other paths. So whoever is let in gets a random first segment of the path of
their own, the cookie is set for the paths below it alone, and another port is not sent it, as it does not know the
segment. An address without the segment works, too: the browser's storage, which knows ports, remembers the segment, and
a small script leads there. The segment alone opens nothing.
"""

import base64
import hashlib
import html
import re
import secrets
from collections.abc import Iterable
from urllib.parse import quote

import streamlit as st

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
