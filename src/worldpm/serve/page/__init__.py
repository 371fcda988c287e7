"""The files of this folder -> the page at `/` as one document, and the policy it is sent with.

    HTML      the page, its style and script inside; it asks `/info` and `/v1/compare` alone
    HEADERS   among them a Content-Security-Policy that lets run what has these hashes, and no more

The document is the same for everybody and holds no secret, so it needs no key; what it asks does.
"""

import base64
import hashlib
from importlib.resources import files


def _read(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """`text` as a source of a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_SCRIPTS = ("words.js", "page.js", "files.js", "start.js")  # one module, in this order
_STYLE, _SCRIPT = _read("page.css"), "".join(map(_read, _SCRIPTS))
HTML = _read("index.html").replace("/*css*/", _STYLE).replace("/*js*/", _SCRIPT)
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": (
        f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
