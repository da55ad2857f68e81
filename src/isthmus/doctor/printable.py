"""Text that others wrote, made fit for a terminal."""


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would take for more than a character."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
