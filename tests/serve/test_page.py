"""The page at `/`: what a person sees, in a browser; and what a hostile reply cannot do there."""

import base64
import hashlib
import json
import re
from itertools import product

import pytest
from pages import ATTACKS, READY, bring_axe, only_asked, serious_findings, text_of
from wire import client

from worldpm.serve.page import HEADERS, HTML

REPLIES = ["A longer reply to it.", "Short.", "A reply."]


def compare(page, replies):
    """Type and press, as a person would."""
    page.write("#prompt", "What is it?")
    page.click("#add") if len(replies) > 2 else None
    for i, reply in enumerate(replies):
        page.write(f"#reply-{i + 1}", reply)
    page.click("#go")
    page.until(READY)


def test_three_replies_compared_in_two_languages(page, server):
    """Typed in and compared: ranked by the scores with the best first, probabilities of a softmax,
    a table of pairs; then the same in Chinese; no console message, no request elsewhere."""
    compare(page, REPLIES)
    ranking = text_of(page, "#ranking")
    order = re.findall(r"\d\. Reply (\d)(?: longest)?\s+([\d.]+) % best", ranking)
    assert [int(number) for number, _ in order] == [2, 3, 1]
    assert abs(sum(float(chance) for _, chance in order) - 100) < 0.2
    assert "score -6.0000" in ranking
    assert page.run("document.querySelectorAll('#pairs td').length") == 3 * 3 + 1
    wide = page.run("[...document.querySelectorAll('.bar > div')].map(e => e.style.width)")
    assert float(wide[0][:-1]) > float(wide[1][:-1]) > float(wide[2][:-1])
    page.click("#language")
    assert page.run("document.documentElement.lang") == "zh-CN"
    assert "1. 回答 2" in text_of(page, "#ranking")
    assert not re.search(
        "[A-Za-z]{3,}", text_of(page, "form").replace("Ctrl", "").replace("Enter", "")
    )
    only_asked(page, server)
    assert "the-key" not in page.run("location.href")


def heat(page, number):
    """The tokens of a reply by its place in the ranking: (text, heat, classes) of each."""
    spans = f"document.querySelectorAll('#ranking li:nth-child({number}) .text span')"
    row = "[e.textContent, Number(e.dataset.heat), e.className.split(' ')]"
    return json.loads(page.run(f"JSON.stringify([...{spans}].map(e => {row}))"))


def test_the_score_at_every_token(page, server):
    """Each reply's text is its tokens, vowels of another sign than what lowers the score; where it
    parts from the best other is marked and told; a token's numbers are told by slider, by pointer
    and in both languages; without the switch the text is as it was typed."""
    compare(page, ["Same start, ab", "Same start, xyz"])
    best, other = heat(page, 1), heat(page, 2)
    assert "".join(text for text, _, _ in best) == "Same start, ab<|im_end|>"
    steps = {text: step for text, step, _ in other}
    assert steps["S"] == 0  # nothing before it that it could change
    assert steps["e"] > 0 > steps["m"]
    for tokens in (best, other):
        assert [i for i, (_, _, classes) in enumerate(tokens) if "parts" in classes] == [12]
        assert [text for text, _, classes in tokens if "closing" in classes] == ["<|im_end|>"]
    told = text_of(page, "#ranking")
    assert "Parts from Reply 2 at token 13." in told
    assert "“<|im_end|>” · token 15 of 15 · score -14.0000 · change" in told
    page.run("document.querySelector('#ranking input').focus()")
    for _ in range(2):
        for kind in ("rawKeyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft",
                      windowsVirtualKeyCode=37)  # fmt: skip
    told = text_of(page, "#ranking li.best")
    assert "“a” · token 13 of 15 · score -11.0000 · change +1.0000" in told
    valued = page.run("document.querySelector('#ranking input').getAttribute('aria-valuetext')")
    assert valued in told
    assert page.run("document.querySelector('#ranking input').ariaLabel") == "Tokens of Reply 1"
    page.click("#ranking li:nth-child(2) .text span:nth-child(2)")
    assert "“a” · token 2 of 16 · score 0.0000 · change +1.0000" in text_of(page, "#ranking")
    assert [text for text, _, classes in heat(page, 2) if "now" in classes] == ["a"]
    page.click("#language")
    assert "从第 13 个词元起与 回答 2 不同。" in text_of(page, "#ranking")
    assert not re.search("[A-Za-z]{3,}", text_of(page, "#trace-row"))
    page.click("#trace")
    assert page.run("document.querySelectorAll('#ranking [data-heat], #ranking input').length") == 0
    assert text_of(page, "#ranking li.best .text") == "Same start, ab"
    assert page.run("document.getElementById('legend').hidden")
    only_asked(page, server)


def test_characters_of_several_tokens_are_whole(page):
    """Tokens that hold parts of one character are shown together as that character, with the number
    of the last; equal replies part nowhere."""
    page.run("""const real = window.fetch; window.fetch = async (...all) => {
      const response = await real(...all);
      const body = await response.json();
      const trace = {pieces: ["", "", "日", "a", "", "🙂"], scores: [1, 2, 3, 4, 5, 6]};
      if (body.traces) body.traces = [trace, trace];
      return new Response(JSON.stringify(body), {status: response.status});
    }; 0""")
    compare(page, ["日a🙂", "日a🙂"])
    assert [text for text, _, _ in heat(page, 1)] == ["日", "a", "🙂"]
    assert "“🙂” · token 6 of 6 · score 6.0000 · change +2.0000" in text_of(page, "#ranking")
    assert "Parts from" not in text_of(page, "#ranking")


def test_a_server_without_traces_has_no_switch(page):
    """Where /info says that there are none, none is asked for, and no switch is shown."""
    page.run("""const real = window.fetch; window.asked = []; window.fetch = async (...all) => {
      const response = await real(...all);
      asked.push(all[1].body || "");
      const body = await response.json();
      if (body.models) body.models.model.traces = false;
      return new Response(JSON.stringify(body), {status: response.status});
    }; 0""")
    compare(page, ["One", "Three"])
    assert page.run("asked.length") == 2
    assert "trace" not in page.run("asked.join()")
    assert page.run("document.getElementById('trace-row').hidden")
    assert text_of(page, "#ranking li.best .text") == "One"


VERDICTS = [
    (["One", "Three"], "Length alone would put Reply 2 first", "只看长度会把 回答 2 排在第一"),
    (["One", "Two"], "Several replies are the longest", "有几个回答同样最长"),
    (["日本", "🙂"], "Length alone would put Reply 1 first", "只看长度会把 回答 1 排在第一"),
]


@pytest.mark.parametrize(("replies", "english", "chinese"), VERDICTS)
def test_what_length_alone_would_say(page, replies, english, chinese):
    """Beside each score stands the reply's length in characters, the longest has a badge, and a
    sentence says whether length alone puts the same reply first; a tie is called one."""
    compare(page, replies)
    told = text_of(page, "#ranking")
    for reply in replies:
        assert f"· {len(reply)} characters" in told
    badges = page.run("document.querySelectorAll('#ranking .badge').length")
    assert badges == [len(reply) for reply in replies].count(max(map(len, replies)))
    assert text_of(page, "#length").startswith(english)
    page.click("#language")
    assert text_of(page, "#length").startswith(chinese)
    assert "最长" in text_of(page, "#ranking")


def test_a_model_that_only_follows_length_is_seen(page):
    """Where the longest reply has the best score the sentence says that this shows nothing more."""
    page.run("""const real = window.fetch; window.fetch = async (...all) => {
      const response = await real(...all);
      const body = await response.json();
      if (body.ranking) body.ranking.reverse();
      return new Response(JSON.stringify(body), {status: response.status});
    }; 0""")
    compare(page, REPLIES)
    assert "longest" in text_of(page, "#ranking li.best")
    assert text_of(page, "#length").startswith("Length alone puts the same reply first")
    page.click("#language")
    assert text_of(page, "#length").startswith("只看长度也会把同一个回答排在第一")


CONTRAST = r"""(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [-4, -3, -2, -1, 1, 2, 3, 4].map((step) => {
    const span = document.querySelector('#ranking .text span');
    span.dataset.heat = step;
    const {color, backgroundColor} = getComputedStyle(span);
    const both = [light(color), light(backgroundColor)].sort((a, b) => a - b);
    return [backgroundColor, (both[1] + 0.05) / (both[0] + 0.05)];
  });
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_can_be_read_on(page, dark):
    """Eight colours, each with a contrast of at least 4.5 to the text that stands on it."""
    page.look(dark=dark)
    compare(page, ["One", "Three"])
    found = page.run(CONTRAST)
    assert len({colour for colour, _ in found}) == 8
    assert min(contrast for _, contrast in found) >= 4.5


def test_what_goes_wrong_is_said(page, server):
    """Too few replies, a wrong key: a sentence in the live region, no silent nothing; with the key
    typed in, the answer comes."""
    page.click("#go")
    assert "at least two" in text_of(page, "#status")
    page.run("document.getElementById('key').value = 'wrong'")
    page.write("#prompt", "What?")
    page.write("#reply-1", "One")
    page.write("#reply-2", "Three")
    page.click("#go")
    page.until("!document.getElementById('key-row').hidden")
    assert "key" in text_of(page, "#status")
    page.run("document.getElementById('key').value = ''")
    page.write("#key", "the-key")
    page.click("#go")
    page.until(READY)
    assert text_of(page, "#status") == "Ranked."


def test_the_keyboard_is_enough(page):
    """Ctrl + Enter compares; the example needs one click; typed control tokens are told of."""
    page.click("#example")
    page.until(READY)
    assert "Reply 3" in text_of(page, "#ranking li.best")
    page.write("#reply-2", " <|im_end|>")
    page.run("document.getElementById('status').textContent = ''")
    for kind in ("rawKeyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", modifiers=2,
                  windowsVirtualKeyCode=13)  # fmt: skip
    page.until("document.getElementById('status').textContent === 'Ranked.'")
    assert "plain text" in text_of(page, "#ranking")


def test_a_phone_needs_no_sideways_scrolling(page):
    """At 360 points nothing but the table of pairs is wider than the screen."""
    page.look(width=360, height=740, phone=True)
    page.click("#example")
    page.until(READY)
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("Math.min(...[...document.querySelectorAll('#go, #add')]"
                    ".map(e => e.offsetHeight))") >= 44  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(page, dark):
    """axe-core has no serious or critical finding, before and after a comparison, light and dark,
    in both languages, with the score at every token and without."""
    page.look(dark=dark)
    bring_axe(page)
    for step in ("", "#example", "#language", "#trace"):
        if step:
            page.click(step)
            page.until(READY)
            page.until("document.getAnimations().length === 0")
        page.run("document.querySelector('details').open = true")
        assert serious_findings(page) == []


FIELDS = ["prompt", "reply", "model", "error"]


def test_240_injections_are_all_dead(page, server):
    """60 texts in each of prompt, reply, the model's name and the server's error: none runs, adds
    an element, opens a dialog or asks another address; each stands there as it was typed, a reply
    by its tokens."""
    assert len(ATTACKS) == len(set(ATTACKS)) == 60
    kinds = "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))].sort().join()"
    compare(page, ["One <b>bold</b>", "Two too"])
    before = page.run(kinds)
    assert page.run("document.querySelectorAll('#ranking span[data-heat]').length") > 20
    # The model's name and the error are the server's words; a hostile server is played by fetch.
    page.run("""window.play = async (field, attack) => {
      const real = window.fetch;
      const id = document.getElementById.bind(document);
      if (field === 'prompt') id('prompt').value = attack;
      if (field === 'reply') id('reply-2').value = attack;
      window.fetch = async (...all) => {
        const response = await real(...all);
        const body = await response.json();
        if (field === 'model') body.model = attack;
        if (field === 'error') body.error = {message: attack, where: attack};
        return new Response(JSON.stringify(body), {status: field === 'error' ? 400 : 200});
      };
      id('form').requestSubmit();
      while (id('go').disabled) await new Promise(r => setTimeout(r, 5));
      window.fetch = real;
      const shown = {prompt: id('prompt').value, error: id('status').textContent,
                     reply: id('ranking').textContent, model: id('meta').textContent}[field];
      id('reply-2').value = 'Two too';
      return shown;
    }; 0""")
    count = 0
    for field, attack in product(FIELDS, ATTACKS):
        shown = page.run(f"play({json.dumps(field)}, {json.dumps(attack)})")
        assert attack in shown, (field, attack, shown)
        count += 1
    assert count == 240
    assert page.run(kinds) == before
    assert page.run("window.hit") is None
    assert page.dialogs == []
    only_asked(page, server)


def test_the_browser_would_see_an_injection(tmp_path, tab):
    """Written as HTML on a page without the policy the same texts do run: the test has teeth."""
    path = tmp_path / "bad.html"
    path.write_text(f"<!doctype html><p>{ATTACKS[1]}</p><img src=http://evil.invalid/a.png>")
    tab.requests.clear(), tab.dialogs.clear()
    tab.open(path.as_uri())
    tab.until("window.hit === 1")
    assert tab.dialogs == ["1"]
    assert any("evil.invalid" in url for url in tab.requests)


def test_the_policy_fits_the_document():
    """The hashes are those of the one style and the one script; nothing else may run, the page is
    under 60 KB and uses no way from text to HTML."""
    with client() as http:
        answer = http.get("/")
    assert answer.text == HTML
    policy = answer.headers["content-security-policy"]
    assert policy == HEADERS["content-security-policy"]
    for kind, tag in (("style", "style"), ("script", 'script type="module"')):
        (text,) = re.findall(f"<{tag}>(.*?)</{kind}>", HTML, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert len(HTML.encode()) < 60_000
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "http:",
                 "https:"):  # fmt: skip
        assert word not in HTML
    assert not re.search(r"\son\w+=|style=", HTML)


def test_both_languages_have_all_words():
    """Every word of one language is there in the other, and every word the document names."""
    english, chinese = re.findall(r"^  (?:en|zh): \{\n(.*?)^  \},", HTML, re.DOTALL | re.MULTILINE)
    words = [set(re.findall(r"(?:^|[,{] ?|\s)(\w+): [\"“]", text)) for text in (english, chinese)]
    assert words[0] == words[1]
    assert set(re.findall(r'data-t="(\w+)"', HTML)) <= words[0]
