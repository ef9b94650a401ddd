"""What a command can refuse."""


class BadInput(Exception):
    """The user's input can't be used; the message is the one line they see."""
