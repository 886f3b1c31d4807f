"""The errors that Palmist raises for its users."""


class InputError(ValueError):
    """The user's input is wrong: the message says what was found, what was expected and how to fix it.

    The command line prints the message alone and ends with exit code 2.
    """


class MissingExtraError(InputError):
    """An optional part is not installed; the message gives the command that installs it."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the optional part '{extra}'; install it with: pip install 'palmist[{extra}]'")
