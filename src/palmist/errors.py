"""The errors that Palmist raises for its users."""


class InputError(ValueError):
    """The user's input is wrong: the message says what was found, what was expected and how to fix it.

    The command line prints the message alone and ends with exit code 2. It is one line, whatever a file's name holds.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message.replace("\r", "\\r").replace("\n", "\\n"))


class MissingExtraError(InputError):
    """An optional part is not installed; the message gives the command that installs it."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the optional part '{extra}'; install it with: pip install 'palmist[{extra}]'")
