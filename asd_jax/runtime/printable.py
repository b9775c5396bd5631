"""Makes names from outside safe to show in a terminal, a plot or a page."""

import unicodedata

# Control and format characters, surrogates, line and paragraph separators: they move the cursor,
# colour the screen, reverse the writing direction, or cannot be encoded.
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # Persian, the scripts of India and emoji need these joiners


def printable(text: str, *, keep: str = "") -> str:
    r"""Returns the text with control and format characters replaced by escapes, such as \x1b.

    Example:
        printable("fan\x1b[31m")  # "fan\\x1b[31m"

    Args:
        text: any string, including file names that are not UTF-8.
        keep: characters that stay, such as line ends in a message.
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
