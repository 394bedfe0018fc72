"""The exceptions a user is meant to read."""


class UserError(ValueError):
    """Something the user can put right. The message says what happened, what was expected and what to do.

    Halves of characters, which damaged files and names may hold, are written out, so that it can be printed and stored.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.encode("utf-8", "backslashreplace").decode("utf-8"))


class NotEnoughMemory(UserError):
    """A model does not fit the device it was to run on."""
