"""Permission to send files to the server, which Streamlit takes into its memory before any page sees them.

A demonstration takes none. With a log-in, only sessions may whose page was drawn for the role run: Streamlit itself
takes a file from every session, and a visitor who has not logged in has one.
"""

from collections import OrderedDict

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
