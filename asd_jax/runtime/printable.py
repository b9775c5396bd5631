"""Names that others chose, as a terminal, a plot and a page can show them."""

import unicodedata

# Control and format characters, surrogates, line and paragraph separators: they move the cursor,
# colour the screen, turn the direction of writing, or cannot be encoded.
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # which Persian, the scripts of India and emoji are written with


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with every character that steers what shows it written as an escape, such as \x1b.

    Args:
        text: any string, also one that is no UTF-8 (names of files).
        keep: characters that stay, such as the ends of lines in a message.
    """
    if text.isprintable():
        return text
    kept = _JOINERS + keep
    return "".join(
        character
        if character in kept or unicodedata.category(character) not in _STEERING
        else character.encode("unicode_escape").decode()
        for character in text
    )
