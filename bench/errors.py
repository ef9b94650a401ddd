"""What a command can refuse, and how it may be worded on a terminal."""


def plain(text: object) -> str:
    """Text as one line that nothing obeys: line breaks become spaces, and whatever isn't printable its escape.

    That is control characters and escape sequences, what turns the direction of writing, and halves of surrogate pairs,
    which are in arguments that aren't UTF-8.
    """
    line = " ".join(part.strip() for part in str(text).splitlines())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


class BadInput(Exception):
    """The user's input can't be used; the message is the one line they see."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))
