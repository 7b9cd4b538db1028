"""Names from files, as text that a terminal or a Markdown page shows and does not obey."""

from __future__ import annotations

import re

# Besides what does not print: marks that turn the direction of writing, and what is left of bytes that are no text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# Also what begins a list or a heading, and dots, which make an address of a word.
_MARKUP = re.compile(r"[\\`*_{}\[\]()<>#+!|~&$@:]|^[-=]|(?<=\w)\.")


def printable(text: object, *, keep: str = "") -> str:
    r"""Return a text in which nothing moves a cursor, changes a color or turns the direction of writing.

    Args:
        text: names of classes or files, also those that are not Unicode.
        keep: characters that stay, such as the ends of lines of a report.

    Examples:
        >>> printable("clip\x1b[2J.mp4")
        'clip\\x1b[2J.mp4'
    """

    def escaped(found: re.Match[str]) -> str:
        if found[0] in keep:
            return found[0]
        return found[0].encode("unicode_escape", "surrogatepass").decode()

    return _UNSAFE.sub(escaped, str(text))


def markdown(text: object) -> str:
    """Return a text in one line that Markdown and HTML show letter by letter.

    Examples:
        >>> markdown("<b>run</b> [x](y)")
        '&#60;b&#62;run&#60;/b&#62; &#91;x&#93;&#40;y&#41;'
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text).strip())
