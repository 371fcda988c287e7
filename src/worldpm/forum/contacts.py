"""E-mail addresses and phone numbers in a text -> `[e-mail]` and `[phone]`.

    mask_contacts("Write to jo@uni.edu or call +1 212 555 0187.", note)
    ->  "Write to [e-mail] or call [phone]."

Cautious: a number is a phone number if it is written like one (+ and a country code, or North
America's 3-3-4), or if a word like "call" or "tel" stands before it. Versions, dates, addresses of
machines, ISBNs and measurements stay.
"""

import re
from collections.abc import Callable

EMAIL, PHONE = "[e-mail]", "[phone]"
# Every repetition is bounded and starts at a character that cannot stand before it: linear time.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_][\w.+%-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,6}([A-Za-z]{2,24})\b(?!:\S)",
    re.ASCII,
)
# picture@2x.png and package@next.js are files.
_FILE_ENDINGS = {
    "css", "gif", "go", "htm", "html", "ico", "jpeg", "jpg", "js", "json", "md", "mjs", "mount",
    "png", "py", "rb", "rs", "service", "socket", "svg", "target", "timer", "ts", "txt", "webp",
    "xml", "yaml", "yml",
}  # fmt: skip
_BEFORE, _AFTER = r"(?<![\w.,/#=$&+-])", r"(?![\w/%]|[.,:-]\d)"
# Two to six groups of digits; a run of digits is cut in one way only, since no end is inside it.
_INTERNATIONAL = (
    rf"{_BEFORE}\+[1-9]\d{{0,2}}"
    rf"(?:(?:[ .-]?\(?\d{{1,4}}+\)?){{2,6}}|[ .-]?\(?\d{{2,4}}\)?){_AFTER}"
)
_NORTH_AMERICAN = (
    rf"{_BEFORE}(?:1[ .-])?"
    rf"(?:\([2-9]\d\d\) ?[2-9]\d\d[ .-]|[2-9]\d\d([ .-])[2-9]\d\d\1)\d{{4}}{_AFTER}"
)
_CUED = (
    r"\b(?:call|text|phone|mobile|cell|tel|telephone|fax|whatsapp|hotline)"
    r"(?: (?:me|us|number|no|is|at|on|now)){0,2}[.:]{0,2} {0,2}"
    rf"(\(?\d(?:[ .()/-]{{0,2}}\d){{6,14}}){_AFTER}"
)
_PHONE = re.compile(rf"{_INTERNATIONAL}|{_NORTH_AMERICAN}", re.ASCII)
_CUED_PHONE = re.compile(_CUED, re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"(?:19|20)\d\d[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d")


def mask_contacts(text: str, note: Callable[[str], None] = lambda name: None) -> str:
    """The text with its contacts masked; `note` hears emails_masked and phones_masked for each."""

    def email(match: re.Match[str]) -> str:
        if match[1].lower() in _FILE_ENDINGS or match[0].startswith("git@"):
            return match[0]
        note("emails_masked")
        return EMAIL

    def phone(match: re.Match[str]) -> str:
        digits = sum(c.isdigit() for c in match[0])
        if not 8 <= digits <= 15:
            return match[0]
        note("phones_masked")
        return PHONE

    def cued(match: re.Match[str]) -> str:
        number = match[1]
        # A bare count ("call 5000000 functions") is none, unless it is as long as a number there.
        bare = number.isdecimal() and number[0] != "0" and len(number) not in (10, 11)
        if bare or _DATE.match(number):
            return match[0]
        note("phones_masked")
        return match[0][: match.start(1) - match.start()] + PHONE

    if "@" in text:
        text = _EMAIL.sub(email, text)
    return _CUED_PHONE.sub(cued, _PHONE.sub(phone, text))
