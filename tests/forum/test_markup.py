"""HTML bodies to Markdown: faithful on what forums write, unharmed by what attackers write."""

import random
import re
import sys
import time

import html_to_markdown
import pytest

from worldpm.forum import markup
from worldpm.forum.markup import MAX_BYTES, markdown_of, plain_text, tidy_markdown, to_markdown

KEPT = {
    "LaTeX": (r"<p>$a_1 * b_2$, $\{1\,2\}$ \\ end</p>", r"$a_1 * b_2$, $\{1\,2\}$ \\ end"),
    "underscores": ("<p>x_y_z and _a_</p>", "x_y_z and _a_"),
    "inline code": ("<p>Use <code>a_1*b</code>.</p>", "Use `a_1*b`."),
    "code block": ("<pre><code>if a:\n    b &lt; 2\n</code></pre>", "```\nif a:\n    b < 2\n```"),
    "code language": ('<pre class="lang-py"><code>x</code></pre>', "```py\nx\n```"),
    "link": ('<p><a href="http://x.y/z_a">t</a></p>', "[t](http://x.y/z_a)"),
    "list": ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
    "numbered paragraph": ("<p>1) first</p>", "1) first"),
    "heading": ("<h2>H</h2><p>t</p>", "## H\n\nt"),
    "quote": ("<blockquote><p>q</p></blockquote>", "> q"),
    "emphasis": ("<p><em>a</em> <strong>b</strong></p>", "*a* **b**"),
    "superscript": ("<p>10<sup>6</sup></p>", "10<sup>6</sup>"),
    "line break": ("<p>a<br>b</p>", "a\nb"),
    "entities": ("<p>a &lt;b&gt; &amp; c</p>", "a <b> & c"),
    "Chinese and emoji": ("<p>\u4f60\u597d \U0001f600</p>", "\u4f60\u597d \U0001f600"),
    "private use characters": ("<p>\ue000 \\{</p>", "\ue000 \\{"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_forums_write_is_kept(name):
    """Each construct becomes the Markdown its author would have typed."""
    body, expected = KEPT[name]
    assert to_markdown(body) == expected


def test_no_trailing_blanks():
    """No line ends in blanks, and the text neither begins nor ends with empty lines."""
    text = to_markdown("\n<p>a<br>b   </p>\n\n<p>c</p>\n\n")
    assert text == text.strip()
    assert all(line == line.rstrip() for line in text.splitlines())


HOSTILE = {
    "nesting": "<div>" * 20_000 + "deep" + "</div>" * 20_000,
    "unclosed": "<b>" * 5_000 + "deep",
    "too large": "<p>deep</p>" * (MAX_BYTES // 8),
    "blanks": "<p>deep" + " " * 200_000 + "</p>",
    "NUL": "<p>de\0ep</p>\0",
    "brackets": "<" * 50_000 + "<p>deep</p>",
    "surrogate": "<p>deep \ud800</p>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_html_ends_soon_and_keeps_its_text(kind):
    """No crash, no hang, no silent loss of the text."""
    start = time.monotonic()
    text = to_markdown(HOSTILE[kind])
    assert "deep" in text
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "stub",
    [
        lambda body, options: (_ for _ in ()).throw(RuntimeError("crash")),
        lambda body, options: type("R", (), {"warnings": ["too deep"], "content": "half"})(),
        lambda body, options: type("R", (), {"warnings": [], "content": ""})(),
    ],
)
def test_a_failed_conversion_falls_back_to_plain_text_and_is_counted(monkeypatch, stub):
    """A crash, a warning or an empty answer of the converter costs markup, never text."""
    monkeypatch.setattr(markup, "convert", stub)
    calls = []
    assert to_markdown("<p>a <b>c</b></p>", lambda: calls.append(1)) == "a c"
    assert calls == [1]


@pytest.mark.parametrize("body", ["", "  ", "<p></p>", "<!-- x -->", "\0"])
def test_a_body_without_text_is_empty_and_not_counted(body):
    """Nothing in, nothing out: no fallback is reported."""
    calls = []
    assert to_markdown(body, lambda: calls.append(1)) == ""
    assert not calls


def test_plain_text_is_the_text():
    """Markup goes, words stay."""
    assert plain_text("<p>a <b>b</b></p>") == "a b"
    assert plain_text("") == ""


TIDY = {
    "&gt; quote\n\na &lt; b &amp;&amp; c": "> quote\n\na < b && c",
    "&amp;lt;p&amp;gt; as typed": "&lt;p&gt; as typed",
    "x&#x200B;\u200by\ufeff\0": "xy",
    "a&nbsp;b&#32;c &#3232;": "a b c \u0ca0",
    "line \r\nnext\t\r\n\r\n": "line\nnext",
    "https://x.org/?a=1&copy=2&lt=3": "https://x.org/?a=1&copy=2&lt=3",
    "AT&T; **bold** `a_1`": "AT&T; **bold** `a_1`",
    "```\n    x = 1\n```": "```\n    x = 1\n```",
    "&#x110000; &#xd800; &#99999999;": "\ufffd \ufffd &#99999999;",
    "&#x200B;\n\n&nbsp;": "",
}


@pytest.mark.parametrize("body", TIDY)
def test_markdown_is_what_its_author_saw(body):
    """Escapes are undone once, unseen characters go, code and links stay as they are."""
    text = tidy_markdown(body)
    assert text == TIDY[body]
    text.encode()


@pytest.mark.parametrize("body", ["&" * 200_000, "&#" * 100_000, "&amp;" * 50_000, " \n" * 100_000])
def test_hostile_markdown_is_tidied_soon(body):
    """200 kB in less than a second, whatever they are made of."""
    start = time.process_time()
    tidy_markdown(body)
    assert time.process_time() - start < 1


def test_a_row_says_what_its_text_is_written_in():
    """HTML is converted, Markdown tidied, anything else is no text."""
    assert markdown_of("<b>a</b> &amp;", "html", lambda: None) == "**a** &"
    assert markdown_of("<b>a</b> &amp;", "markdown", lambda: None) == "<b>a</b> &"
    assert markdown_of(["a"], "html", lambda: None) == ""


def test_options_translated_once_give_the_same(monkeypatch):
    """The converter that skips the library's Python side gives what the library gives."""
    bodies = ["<p>a_b * c</p>", "<ul><li>1)</li></ul>", "<p>10<sup>6</sup></p>", "<b>x</b>\\,"]
    ours = [markup.convert(body).content for body in bodies]
    assert ours == [html_to_markdown.convert(b, markup._OPTIONS).content for b in bodies]
    monkeypatch.setitem(sys.modules, "html_to_markdown.api", None)
    fallback = markup._converter()
    assert [fallback(body).content for body in bodies] == ours


def test_numbered_paragraphs_are_found_in_linear_time_as_by_backtracking():
    """The pattern that stays within a line changes what the plain one changes, and soon."""
    plain = re.compile(r"^((?:> )*\s*\d+)\\([.)])", re.MULTILINE)
    chance = random.Random(1)
    changed = 0
    for _ in range(3000):
        text = "".join(chance.choices("> 1\\\\.)\n \t\r\u2028x", k=8)) + "\n 1\\."
        expected = plain.sub(r"\1\2", text)
        assert markup._NUMBERED.sub(r"\1\2", text) == expected, text
        changed += expected != text
    assert changed > 100
    start = time.process_time()
    to_markdown("<p>1) x</p><pre>" + "\n" * 100_000 + "x</pre>")
    assert time.process_time() - start < 2
