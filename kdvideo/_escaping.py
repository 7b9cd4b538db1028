"""Names of files and classes made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a text with its control characters escaped: a name must not move the cursor or forge a line.

    Examples:
        >>> print(printable("a\x1b[2J\nb é.mp4"))
        a\x1b[2J\nb é.mp4
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
