"""In whose name a page asks: the role and the name of the visitor whose page is being drawn."""

import hashlib

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine.permissions import GUEST, NOBODY, OWNER, Visitor
from pages.parts import door, private_path


def who() -> Visitor:
    """The visitor of this script's run; the owner for every other thread, which is the server's own."""
    if get_script_run_ctx() is None:
        return OWNER
    match door.mode():
        case "local":
            return OWNER
        case "demonstration":
            return GUEST
        case "password":
            name = private_path.cookie_name(st.get_option("server.port"))
            values = private_path.cookie_values(st.context.headers.get_all("cookie"), name)
            known = next(filter(None, map(door.recognised, values)), None)
            return Visitor(*known) if known else NOBODY
        case _:
            return _logged_in()


def is_verified() -> bool:
    """Whether the provider of the log-in says that the visitor's address is theirs; some say it in a text."""
    said = st.user.get("email_verified")
    return door.trusts_addresses() if said is None else said in (True, "true")


def _logged_in() -> Visitor:
    """By the log-in: the role of an address on the lists, and a name that does not give the address away."""
    if not st.user.get("is_logged_in"):
        return NOBODY
    address = str(st.user.get("email") or "")
    role = door.role_of(address) if is_verified() else ""
    return Visitor(role, hashlib.sha256(address.lower().encode()).hexdigest()[:16]) if role else NOBODY
