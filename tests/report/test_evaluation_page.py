"""The page of an evaluation: whole, small, inert, and the same numbers as the JSON."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import orjson
import pytest

from worldpm.evals.baselines import longer_characters, longer_words
from worldpm.evals.contrast import contrast, with_q_values
from worldpm.evals.probes import probe_comparisons, probe_outcomes
from worldpm.evals.run import evaluate, to_json
from worldpm.evals.summary import TESTING, class_summary
from worldpm.evals.summary import with_q_values as with_q
from worldpm.records import Comparison, Edge, Message
from worldpm.report.evaluation_charts import diagram
from worldpm.report.evaluation_page import MOST_BYTES, evaluation_page, safe_text
from worldpm.report.evaluation_tables import markdown_report

EVIL = (
    "</pre></div><script>document.title='owned'</script><img src=http://example.invalid/x.png "
    "onerror=alert(1)><style>body{display:none}</style><!-- <iframe src=//example.invalid> "
    "\u202eright to left\x00\x1b[31m &amp; \"'"
)
VOID = {"meta", "link", "line", "circle", "br"}


def comparison(number: int, kind: str, extra: str = "") -> Comparison:
    texts = [f"fine {number}{extra}", "a much longer reply " * (1 + number % 3), "mid reply"]
    replies = tuple((Message("assistant", text),) for text in texts)
    edges = (Edge(0, 1), Edge(0, 2)) if number % 2 else (Edge(1, 0), Edge(1, 2))
    prompt = (Message("user", f"question {number} {extra}"),)
    return Comparison(f"{kind}/{number}", "t", kind, prompt, replies, edges, {"class": kind})


def made_report(extra: str = "", name: str = "a-model") -> dict:
    data = [comparison(n, "safety" if n < 12 else "objective", extra) for n in range(30)]
    evaluations = [
        {**to_json(evaluate(data, rule, suite="mine", resamples=50)), "model": model}
        for model, rule in ((name, longer_characters), ("other", longer_words))
    ]
    probed = probe_comparisons(data)
    outcomes = probe_outcomes(probed, longer_characters(probed))
    tests = contrast(
        data, (name, longer_characters(data)), ("other", longer_words(data)), suite="mine",
        resamples=50,
    )  # fmt: skip
    mistakes = [
        {"suite": "mine", "model": name, "id": each["id"], "difference": each["difference"],
         "prompt": f"q {extra}", "better": f"good {extra}", "worse": f"bad {extra}"}
        for each in evaluations[0]["mistakes"]
    ]  # fmt: skip
    figures = {
        "protocol": "worldpm", "model": name,
        "figures": [{"name": "RB-Chat", "group": "Subjective", "suite": "rewardbench",
                     "value": 0.5, "num": 4, "num_ties": 1, "note": None}],
        "against": [{"name": "paper:X", "unmatched": [], "rows": [
            {"figure": "RB-Chat", "group": "Subjective", "suite": "rewardbench",
             "published_percent": 91.25, "control": "none", "caveats": ["half of it"]}]}],
    }  # fmt: skip
    report = {
        "models": [name, "other"], "created": "2026-01-01T00:00:00+00:00", "version": "0.1",
        "evaluations": with_q(evaluations), "classes": class_summary(evaluations),
        "contrasts": [to_plain(each) for each in with_q_values(tests)], "figures": [figures],
        "probes": [{"suite": "mine", "model": name, "outcomes": [to_plain(o) for o in outcomes]}],
        "mistakes": mistakes, "testing": TESTING,
    }  # fmt: skip
    return json.loads(orjson.dumps(report))


def to_plain(record) -> dict:
    return json.loads(orjson.dumps(record))


class Outline(HTMLParser):
    """Checks that tags nest, and keeps them with their attributes and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def hostile() -> str:
    return evaluation_page(made_report(EVIL, name=f"evil {EVIL}"))


def test_every_section_is_there_and_well_formed():
    """One of each: classes, forest, suites, models, figures, diagrams, style, best of n, probes."""
    page = evaluation_page(made_report())
    found = outline(page)
    for title in ("Classes", "Accuracies", "Suites", "Models compared", "Published figures",
                  "Can its probabilities be believed?", "Style", "Best of n", "Probes",
                  "The worst mistakes"):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
    assert found.tags.count("svg") == 4  # forest, two diagrams, style
    assert "91.25" in page
    assert "prefers-color-scheme: dark" in page


def test_numbers_are_those_of_the_json():
    """The accuracy with its interval, the held-out loss and the floors stand in the tables."""
    report = made_report()
    page, text = evaluation_page(report), markdown_report(report)
    outcome = report["evaluations"][0]["lines"][0]["outcome"]
    low, high = outcome["accuracy_interval"]
    shown = f"{100 * outcome['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert shown in page
    assert shown.replace("[", "\\[").replace("]", "\\]") in text
    assert f"{outcome['held_out_loss_nats']:.3f}" in page
    assert TESTING in text


def test_hostile_texts_stay_text(hostile):
    """No tag, attribute or address of theirs is in the page; the words are, escaped."""
    found = outline(hostile)
    assert not {"script", "img", "iframe", "object", "form"} & set(found.tags)
    assert found.tags.count("style") == 1
    names = {name for name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")}
    addresses = [value for name, value in found.attributes if name in {"src", "href", "action"}]
    assert addresses == ["data:,"]
    assert "<script>document.title" in "".join(found.text)
    assert "\x00" not in hostile
    assert "\x1b" not in hostile


def test_safe_text_cuts_and_escapes():
    """Cut after so many characters, saying how many are missing; control characters replaced."""
    assert safe_text("<b>&\x07\r\n\t") == "&lt;b&gt;&amp;\ufffd\n\t"
    assert safe_text("x" * 20, most=5) == "xxxxx [… 15 more characters]"
    assert safe_text("\ud800") == "\ufffd"


def test_a_page_of_many_long_mistakes_stays_small():
    """Thousands of mistakes of escaped texts: under the limit, the worst ones kept."""
    report = made_report()
    one = {"suite": "s", "model": "m", "id": "1", "difference": -1.0, "prompt": "<&" * 5000,
           "better": "\U0001f600" * 9000, "worse": "\"'" * 5000}  # fmt: skip
    report["mistakes"] = [{**one, "id": f"number {n}"} for n in range(3000)]
    page = evaluation_page(report)
    assert len(page.encode()) < MOST_BYTES
    assert "number 0" in page
    outline(page)


def test_one_model_without_probes_or_figures_has_no_empty_sections():
    """What was not asked for leaves no heading."""
    report = made_report()
    report = {
        **report, "models": ["a-model"], "evaluations": report["evaluations"][:1], "contrasts": [],
        "figures": [], "probes": [], "mistakes": [],
    }  # fmt: skip
    page = evaluation_page(report)
    for title in ("Models compared", "Published figures", "Probes", "The worst mistakes"):
        assert f"<h2>{title}</h2>" not in page


def test_markdown_cells_cannot_break_out():
    """Bars, tags, links and line ends of a name stay inside its cell."""
    text = markdown_report(made_report(name="a|b\n<script>[x](http://example.invalid)`"))
    row = next(line for line in text.splitlines() if line.startswith("| safety"))
    assert "a\\|b \\<script>\\[x\\](http" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 9


def chromium(page, tmp_path, *flags):
    """What headless Chromium makes of a page: (DOM as text, its log)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    path = tmp_path / "report.html"
    path.write_bytes(page.encode())
    command = [
        found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--log-net-log={tmp_path / 'net.json'}", "--virtual-time-budget=2000", *flags,
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def addresses_of(net_log: str) -> list[str]:
    """Every http address that a request of the browser went to."""
    return [url for url in re.findall(r'"url":"([^"]+)"', net_log) if url.startswith("http")]


def test_chromium_shows_hostile_texts_as_text_and_asks_no_network(hostile, tmp_path):
    """No console message, no request to their address, the script's words on the page, unrun."""
    dom, log = chromium(hostile, tmp_path)
    assert "CONSOLE" not in log
    assert "&lt;script&gt;document.title" in dom
    assert "<title>owned</title>" not in dom
    assert "example.invalid/x.png onerror" in dom
    assert not [url for url in addresses_of((tmp_path / "net.json").read_text())
                if "example.invalid" in url]  # fmt: skip


def test_chromium_would_see_a_page_that_is_not_safe(tmp_path):
    """Unescaped and without its policy, the same text does run: the test above has teeth."""
    dom, log = chromium(
        "<!doctype html><title>x</title><body><script>document.title='owned';"
        "console.log('seen')</script><img src='http://example.invalid/x.png'>",
        tmp_path,
    )
    assert "owned</title>" in dom
    assert "CONSOLE" in log
    seen = addresses_of((tmp_path / "net.json").read_text())
    assert any("example.invalid" in url for url in seen)


@pytest.mark.parametrize(("accuracy", "height"), [(0.3, 178.0), (0.1, 161.2)])
def test_a_bin_stands_where_its_accuracy_is(accuracy, height):
    """A model that is mostly wrong is not drawn at the axis' end as if it were right at 30 %."""
    one = {
        "confidence": 0.75,
        "accuracy": accuracy,
        "accuracy_interval": (0.05, 0.4),
        "num_edges": 9,
        "share": 0.25,
    }
    assert f'cy="{height}"' in diagram([one])


def test_ticks_of_accuracies_are_whole():
    """Wherever the lowest accuracy stands, the axis to 100 % has no tick such as 32.5 %."""
    for lowest in (0.05, 0.15, 0.25, 0.35, 0.6):
        report = made_report()
        report["evaluations"][0]["lines"][0]["outcome"]["accuracy_interval"][0] = lowest
        ticks = re.findall(r'<text class="m s" x="[\d.]+" y="14">([^<]+)<', evaluation_page(report))
        assert len(ticks) >= 5
        assert "." not in "".join(tick for tick in ticks if tick.endswith(" %"))
