"""The exceptions a user is meant to read."""


class UserError(ValueError):
    """Something the user can put right. The message says what happened, what was expected and what to do."""


class NotEnoughMemory(UserError):
    """A model does not fit the device it was to run on."""
