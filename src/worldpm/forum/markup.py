"""A post's HTML -> Markdown, guarded against hostile and broken input; Markdown made tidy.

    to_markdown("<p>Use <code>a_1</code>.</p>")  ->  "Use `a_1`."
    tidy_markdown("&gt; a_1 &amp; b&#x200B;\r\n")     ->  "> a_1 & b"

Code blocks, links, lists and LaTeX survive as their author typed them; underscores and asterisks
are not escaped. What the converter cannot take (over 256 KB, nesting too deep, a crash inside) is
reduced to its plain text, and the caller may count that with `fallback`.
"""

import re
from collections.abc import Callable
from html import unescape
from typing import Any, Literal

import html_to_markdown
from html_to_markdown import ConversionOptions
from lxml import etree, html

MAX_BYTES = 256 * 1024  # a Stack Exchange body is at most 30,000 characters before rendering
_OPTIONS = ConversionOptions(
    bullets="-",
    extract_metadata=False,
    # CommonMark has no marks for these: 10<sup>6</sup> must not become 106.
    preserve_tags=["sup", "sub"],
)


def _converter() -> Callable[[str], Any]:
    """The library's `convert` with our options.

    Its Python side translates the options anew for each call, which takes longer than the
    conversion of a post. Where it lets us, they are translated once.
    """
    try:
        from html_to_markdown import _html_to_markdown as rust
        from html_to_markdown.api import _to_rust_conversion_options

        options = _to_rust_conversion_options(_OPTIONS)
        rust.convert(html="<p>x</p>", options=options)
    except (AttributeError, ImportError, TypeError):
        return lambda body: html_to_markdown.convert(body, _OPTIONS)
    return lambda body: rust.convert(html=body, options=options)


convert = _converter()
_ELEMENT = re.compile(r"<[^<>]*>")
# Reddit's API writes <, > and & of the author's Markdown as entities.
_ESCAPES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ESCAPE = re.compile("|".join(_ESCAPES))
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|nbsp|quot|apos);")
_UNSEEN = dict.fromkeys(map(ord, "\0\u200b\ufeff"))
# Blanks of one line only: empty lines are not gone through again from each of them.
_NUMBERED = re.compile(r"^((?:> )*+[^\S\n]*+\d++)\\([.)])", re.MULTILINE)


def to_markdown(body: str, fallback: Callable[[], None] = lambda: None) -> str:
    """Markdown of an HTML fragment, without trailing blanks; "" if it holds no text at all.

    `fallback` is called once when only the plain text could be kept.
    """
    body = body.replace("\0", "")
    if not body.strip():
        return ""
    # A character is four bytes at most, so that few bodies are encoded for this.
    small = 4 * len(body) <= MAX_BYTES or len(body.encode("utf-8", "replace")) <= MAX_BYTES
    markdown = _converted(body) if small else ""
    if not markdown:
        markdown = plain_text(body)
        if markdown:
            fallback()
    return "\n".join(map(str.rstrip, markdown.strip().splitlines()))


def tidy_markdown(body: str) -> str:
    """Markdown as its author saw it: escapes undone, unseen characters and trailing blanks gone."""
    if "&" in body:
        body = _ESCAPE.sub(lambda match: _ESCAPES[match[0]], body)
        body = _ENTITY.sub(lambda match: unescape(match[0]).replace("\xa0", " "), body)
    body = body.translate(_UNSEEN)
    return "\n".join(map(str.rstrip, body.strip().splitlines()))


def markdown_of(value: Any, form: Literal["markdown", "html"], fallback: Callable[[], None]) -> str:
    """Tidy Markdown of a row's text in either form; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    return tidy_markdown(value) if form == "markdown" else to_markdown(value, fallback)


def _converted(body: str) -> str:
    """The converter's Markdown, or "" where it failed or gave up (it warns, and stops early)."""
    # The converter doubles backslashes before punctuation, which ruins LaTeX's set braces and thin
    # spaces: they pass through it as a character that the body does not use.
    stand_in = None
    if "\\" in body:
        stand_in = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in body)
        body = body.replace("\\", stand_in)
    try:
        result = convert(body)
    except BaseException as error:  # a panic of the Rust side is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        return ""
    if result.warnings:
        return ""
    # "1)" at the head of a paragraph was no list to its author.
    text = result.content or ""
    if "\\" in text:
        text = _NUMBERED.sub(r"\1\2", text)
    return text.replace(stand_in, "\\") if stand_in else text


def plain_text(body: str) -> str:
    """The text of an HTML fragment without any markup."""
    try:
        text = str(html.document_fromstring(body).text_content()).strip()
    except (etree.LxmlError, ValueError):
        text = ""
    # lxml gives up, without a word, below 256 levels of nesting.
    return text or unescape(_ELEMENT.sub(" ", body)).strip()
