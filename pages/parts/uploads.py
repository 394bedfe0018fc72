"""Who may send files to the server, which Streamlit takes into its memory before any page sees them.

A demonstration takes none. With a log-in only a session may whose page was drawn for the role run: Streamlit itself
takes a file from every session there is, and whoever has not logged in has one.
"""

from collections import OrderedDict

PATH = "/_stcore/upload_file/"  # then the session and the file; before it the server's base path, if it has one
_REMEMBERED = 10_000  # sessions
_senders: OrderedDict[str, None] = OrderedDict()


def are_in(path: str) -> bool:
    """Whether a path is that of a file that is sent."""
    return PATH in f"{path}/"


def allow(session: str, role: str) -> None:
    """Says in which role a session's page is drawn."""
    _senders.pop(session, None)
    if role == "run":
        _senders[session] = None
        if len(_senders) > _REMEMBERED:
            _senders.popitem(last=False)


def may_send(path: str) -> bool:
    """Whether the session that a path names may send files."""
    return path.partition(PATH)[2].partition("/")[0] in _senders
