"""GTINs: text, never numbers. Rules from the GS1 General Specifications, sections 3 and 7.9 (check digit)."""

LENGTHS = (8, 12, 13, 14)


def check_digit(body: str) -> str:
    """The check digit that belongs behind these digits (GS1 General Specifications 7.9.1)."""
    total = 3 * sum(map(int, body[::-2])) + sum(map(int, body[-2::-2]))
    return str(-total % 10)


def normalise(code: str) -> str | None:
    """The 14-digit form of a GTIN-8, -12, -13 or -14 with a right check digit; None for anything else.

    Left-padding with zeros keeps the check digit right, so the four lengths of one article meet in one form.
    White space around the code does not count.
    """
    code = code.strip()
    if len(code) not in LENGTHS or not (code.isascii() and code.isdigit()):
        return None
    if check_digit(code[:-1]) != code[-1]:
        return None
    return code.zfill(14)
