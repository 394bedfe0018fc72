"""The exceptions a user is meant to read, and other errors as a user reads them."""

import contextlib
import errno
import os
import re


class UserError(ValueError):
    """Error that the user can fix. The message says what happened, what was expected and what to do.

    Lone surrogates and line breaks, which damaged files and names may hold, are escaped, so that it is one line that
    can be printed and stored.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text that can be printed and stored: halves of characters and ends of lines are written out."""
    return "\\n".join(text.encode("utf-8", "backslashreplace").decode("utf-8").splitlines())


class NotEnoughMemory(UserError):
    """A model does not fit the device it was to run on."""


class ModelChanged(UserError):
    """Error raised if a model's files changed, or went, while a job used them. gone: True if they cannot be opened."""

    def __init__(self, source: str, gone: bool = False) -> None:
        what = "cannot be opened any more" if gone else "changed while this job used them"
        super().__init__(
            f"The files of the model '{shorten(source)}' {what}, so what was computed belongs to no one model and was "
            "not stored. Start the job again once nobody writes there."
        )


_ADVICE = {
    errno.EACCES: "Change its permissions, or choose another place.",
    errno.EPERM: "Change its permissions, or choose another place.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENOSPC: "Free some space, or choose another disk.",
    errno.EDQUOT: "Free some space, or choose another disk.",
    errno.EEXIST: "Choose another name.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a file stands where a folder was expected.",
    errno.EISDIR: "Check the path: a folder stands where a file was expected.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Check the path: its links lead in a circle.",
}


def os_sentence(error: OSError, named: str = "") -> str:
    """Describe in one line what the operating system refused, for which path, and what to do. named: a path that the
    preceding sentence names.
    """
    problem = error.strerror or str(error).strip() or type(error).__name__
    path = "" if error.filename is None else str(error.filename)
    where = f"'{shorten(path)}': " if path and path != named else ""
    advice = _file_limit() if error.errno == errno.EFBIG else _ADVICE.get(error.errno or 0, "")
    return " ".join(f"{where}{problem.rstrip('.')}. {advice}".split())


def _file_limit() -> str:
    """Return advice for a file that may not grow larger: the limit is the process's own, or the disk's."""
    limit = None
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit is None or limit == resource.RLIM_INFINITY:
        return "Choose a disk that takes larger files."
    return f"This process may write files of up to {limit / 1e6:,.0f} MB: raise the limit (ulimit -f)."


def system_error(error: BaseException) -> OSError | None:
    """Return the operating system's error, even if a library in Rust has turned it into text; else None."""
    if isinstance(error, OSError):
        return error
    told = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


_DAMAGE = {
    "header too large": "its header is longer than the format allows",
    "header too small": "it is cut off before its header",
    "invalid header length": "its header is cut off",
    "not fully covered": "it is truncated, or holds more than its header says",
    "invalid UTF-8": "its header cannot be read (it is not UTF-8)",
    "invalid JSON": "its header cannot be read (it is not JSON)",
    "invalid shape": "its header cannot be read (a tensor of impossible type, shape or place)",
    "does not contain tensor": "it lacks a tensor",
}


def damage(error: BaseException) -> str:
    """Describe the damage to a safetensors file, as the end of a sentence, from the error that opening or writing it
    raised.
    """
    of_system = system_error(error)
    if of_system is not None and of_system.strerror:
        return os_sentence(OSError(of_system.errno, of_system.strerror)).rstrip(".")
    return next((said for text, said in _DAMAGE.items() if text in str(error)), "its header cannot be read")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def named_line(error: BaseException) -> str:
    """Return the class of an error with the first line of its text, if any."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def shorten(text: str, width: int = 80) -> str:
    """Text for a message, cut to `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"
