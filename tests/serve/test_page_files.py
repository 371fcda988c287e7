"""A file of JSON lines on the page: every line gets its row, and the results can be taken home."""

import json
import time

import pytest
from pages import ATTACKS, bring_axe, only_asked, serious_findings, text_of

ENDED = "!document.getElementById('file-again').hidden"
GOOD = {"prompt": "What?", "responses": ["A longer reply.", "Short."]}


def give(page, path):
    """Choose a file with the labelled field, as its dialogue would."""
    found = page.call("Runtime.evaluate", expression="document.getElementById('file')")
    page.call("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])


def write_lines(path, rows):
    """JSON lines of `rows`; bytes and text as they are."""
    texts = [row if isinstance(row, str | bytes) else json.dumps(row) for row in rows]
    parts = [text.encode() if isinstance(text, str) else text for text in texts]
    path.write_bytes(b"\n".join(parts) + b"\n")
    return path


def rows_of(page):
    """The table's rows as lists of their cells' texts."""
    return json.loads(
        page.run(
            "JSON.stringify([...document.querySelectorAll('#file-rows tr')]"
            ".map(row => [...row.children].map(cell => cell.textContent)))"
        )
    )


def score_file(page, path):
    """Give a file and wait for its end."""
    give(page, path)
    page.until(ENDED)
    return rows_of(page)


WRONG = [
    ("{broken", "Not JSON.", "不是 JSON。"),
    (b"\xff\xfe{}", "Not UTF-8.", "不是 UTF-8。"),
    ("[]", "Needs “prompt”", "需要 “prompt”"),
    ("null", "Needs “prompt”", "需要 “prompt”"),
    ({"prompt": "What?"}, "Needs “prompt”", "需要 “prompt”"),
    ({**GOOD, "replies": []}, "Needs “prompt”", "需要 “prompt”"),
    ({"prompt": "What?", "responses": ["One"]}, "Fewer than two replies.", "回答少于两个。"),
    ({"prompt": "What?", "responses": ["One", 2]}, "responses[1]", "responses[1]"),
    ('{"prompt": "\\ud800", "responses": ["a", "b"]}', "Invalid JSON", "Invalid JSON"),
]


def test_each_line_has_its_row(page, server, tmp_path):
    """Ranked lines tell of their best reply, all else of its own error, in both languages, with
    their numbers in the file; the sums are right, and nothing but the server is asked."""
    several = {"prompt": "Équal?", "replies": ["abc", "日本語", "🙂🙂🙂"]}
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": "And?"}]  # fmt: skip
    talked = {"prompt": talk, "replies": [[{"role": "assistant", "content": "x" * 300}], "y" * 400]}
    rows = [GOOD, "", several, *(row for row, _, _ in WRONG), "  ", talked]
    found = score_file(page, write_lines(tmp_path / "some.jsonl", rows))
    assert found[0] == ["1", "What?", "Short.", "100.0 %", "-6.0000", "no"]
    assert found[1] == ["3", "Équal?", "abc", "33.3 %", "-3.0000", "several are longest"]
    assert found[-1][:3] == [str(len(rows)), "Hi\n\nHo\n\nAnd?", "x" * 100 + "…"]
    for i, (_, english, _) in enumerate(WRONG):
        number, _, told = found[2 + i]
        assert (number, english in told) == (str(4 + i), True), told
    status = text_of(page, "#file-status")
    assert f"some.jsonl: 3 lines ranked, {len(WRONG)} with an error, 0 not scored." in status
    assert "the best in 0 of 2 lines" in status
    assert "Blank lines passed over: 2." in status
    page.click("#language")
    for row, (_, _, chinese) in zip(rows_of(page)[2:], WRONG, strict=False):
        assert chinese in row[2]
    assert f"3 行已排名，{len(WRONG)} 行有错误" in text_of(page, "#file-status")
    only_refused(page)
    only_asked(page, server)


def only_refused(page):
    """Chromium notes answers of 4xx itself; take those notes away, once they are of our route."""
    notes = [text for text in page.log if "Failed to load resource" in text]
    assert all("status of 4" in text for text in notes)
    page.log[:] = [text for text in page.log if text not in notes]


def test_a_dropped_file_is_read(page, server, tmp_path):
    """A file let fall anywhere on the page is scored, and the page stays; text that is dragged is
    left to the browser."""
    path = write_lines(tmp_path / "dropped.jsonl", [GOOD] * 3)
    page.run("addEventListener('drop', event => { window.kept = event.defaultPrevented; }); 0")
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=300, y=200, data=data)
    page.until(ENDED)
    assert len(rows_of(page)) == 3
    assert page.run("kept")  # else the browser would open the file in the page's place
    assert not page.run("document.getElementById('file-part').classList.contains('over')")
    prevented = page.run("""(() => {
      const event = new DragEvent('dragover', {cancelable: true, bubbles: true,
                                               dataTransfer: new DataTransfer()});
      document.getElementById('prompt').dispatchEvent(event);
      return event.defaultPrevented;
    })()""")
    assert not prevented
    only_asked(page, server)


def download(page, path):
    """Press the link; the rows of the file that comes, which is called as `path`."""
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(path.parent))
    page.click("#file-download")
    ends = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < ends, page.log
        page.run("new Promise(r => setTimeout(r, 50))")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_results_can_be_taken_home(page, server, tmp_path):
    """The link gives one JSON line for each line, with all digits, under the policy of the page."""
    rows = [GOOD, "{broken", {"prompt": "q", "replies": ["abc", "xyz"]}]
    score_file(page, write_lines(tmp_path / "some.jsonl", rows))
    assert page.run("document.getElementById('file-download').href").startswith("blob:")
    found = download(page, tmp_path / "some.scores.jsonl")
    answer = server.ask("/v1/compare", GOOD, {"authorization": "Bearer the-key"})[1]
    assert found == [
        {"line": 1, "model": "model", "scores": answer["scores"], "best": 1,
         "p_best": answer["ranking"][0]["p_best"], "longest_is_best": False},
        {"line": 2, "error": "Not JSON."},
        {"line": 3, "model": "model", "scores": [-3, -3], "best": 0, "p_best": 0.5,
         "longest_is_best": None},
    ]  # fmt: skip
    only_asked(page, server)


COUNTING = """const real = window.fetch; window.now = 0; window.most = 0; window.times = [];
window.fetch = async (...all) => {
  now += 1; most = Math.max(most, now); times.push(performance.now());
  try { return await play(real, all); } finally { now -= 1; }
};"""


def test_a_busy_server_is_waited_for(page, tmp_path):
    """Four requests at most are under way; after a 429 nobody asks until Retry-After is over, and
    no line is lost."""
    page.run(
        COUNTING
        + """let first = true; window.play = async (real, all) => {
      await new Promise(r => setTimeout(r, 20));
      if (!first) return real(...all);
      first = false;
      window.refused = performance.now();
      return new Response('{"error": {"message": "busy", "where": null}}',
                          {status: 429, headers: {"retry-after": "1"}});
    }; 0"""
    )
    found = score_file(page, write_lines(tmp_path / "many.jsonl", [GOOD] * 30))
    assert [row[0] for row in found] == [str(i + 1) for i in range(30)]
    assert {len(row) for row in found} == {6}
    assert page.run("most") == 4
    assert page.run("times.length") == 31
    waited = page.run("times.map(t => t - refused).filter(t => t > 0)")
    assert min(waited) >= 990


def test_a_server_that_stays_busy_is_given_up(page, tmp_path):
    """A line that is put off twenty times has its error, and the file comes to its end."""
    page.run(
        COUNTING
        + """window.play = async () => new Response('{"error": {}}',
      {status: 429, headers: {"retry-after": "0.001"}}); 0"""
    )
    found = score_file(page, write_lines(tmp_path / "many.jsonl", [GOOD] * 3))
    assert [row[2] for row in found] == ["The server stayed busy."] * 3
    assert page.run("times.length") == 3 * 20


def test_stop_and_go_on(page, tmp_path):
    """While a file is scored its progress shows and Stop ends it: what was not scored says so, in
    the table, the sum and the download; then it can be scored again."""
    page.run(
        COUNTING
        + """window.slow = true; window.play = async (real, all) => {
      if (slow && times.length > 4) await new Promise((_, no) =>
        all[1].signal.addEventListener('abort', () => no(all[1].signal.reason)));
      return real(...all);
    }; 0"""
    )
    give(page, write_lines(tmp_path / "many.jsonl", [GOOD] * 20))
    page.until("document.getElementById('file-progress').value === 4")
    assert text_of(page, "#file-count") == "4 of 20 lines"
    assert page.run("document.getElementById('file-progress').max") == 20
    assert "Scoring many.jsonl" in text_of(page, "#file-status")
    assert page.run("now") == 4
    page.click("#file-stop")
    page.until(ENDED)
    assert "4 lines ranked, 0 with an error, 16 not scored" in text_of(page, "#file-status")
    assert [row[2] for row in rows_of(page)].count("not scored") == 16
    kept = download(page, tmp_path / "many.scores.jsonl")
    assert [row["line"] for row in kept] == list(range(1, 21))
    assert [row.get("error") for row in kept].count("not scored") == 16
    page.run("slow = false; 0")
    page.click("#file-again")
    page.until(f"{ENDED} && !document.getElementById('file-link').hidden")
    assert "20 lines ranked, 0 with an error, 0 not scored" in text_of(page, "#file-status")


def test_a_file_needs_the_key_too(page, tmp_path):
    """Without the right key the file stops at once and the key is asked for; with it typed in the
    same file is scored."""
    page.run(COUNTING + "window.play = (real, all) => real(...all);"
             "document.getElementById('key').value = 'wrong'")  # fmt: skip
    give(page, write_lines(tmp_path / "many.jsonl", [GOOD] * 20))
    page.until(ENDED)
    assert "0 lines ranked, 0 with an error, 20 not scored" in text_of(page, "#file-status")
    assert page.run("times.length") <= 4
    assert "key" in text_of(page, "#status")
    assert page.run("document.activeElement.id") == "key"
    page.run("document.getElementById('key').value = ''")
    page.write("#key", "the-key")
    page.click("#file-again")
    page.until(f"{ENDED} && document.getElementById('file-status').innerText.includes('20 lines')")


def test_a_long_file_is_cut_aloud(page, tmp_path):
    """Of a file of more than 1,000 lines the first 1,000 are read, and a sentence says so; an empty
    one is called so."""
    page.run(
        COUNTING
        + """window.play = async () => new Response(JSON.stringify({model: 'm',
      scores: [1, 0], ranking: [{index: 0, score: 1, p_best: 0.7}]})); 0"""
    )
    found = score_file(page, write_lines(tmp_path / "long.jsonl", [GOOD] * 1001))
    assert len(found) == 1000
    assert "Only the first 1,000 lines were read" in text_of(page, "#file-status")
    assert page.run("times.length") == 1000
    found = score_file(page, write_lines(tmp_path / "exact.jsonl", [GOOD] * 1000))
    assert len(found) == 1000
    assert "Only the first" not in text_of(page, "#file-status")
    path = write_lines(tmp_path / "large.jsonl", [GOOD])
    with path.open("ab") as file:
        file.write(b"x" * 64_000_000)
    assert len(score_file(page, path)) == 1
    assert "Only the first 1 lines were read" in text_of(page, "#file-status")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert score_file(page, tmp_path / "empty.jsonl") == []
    assert text_of(page, "#file-status") == "empty.jsonl holds no line."


def test_texts_of_a_file_stay_text(page, server, tmp_path):
    """Prompts and replies that would like to run, 60 each, and a file's name, stand as text."""
    kinds = "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))].sort().join()"
    score_file(page, write_lines(tmp_path / "plain.jsonl", [GOOD]))
    before = page.run(kinds)
    rows = [{"prompt": each, "responses": [each, each + " and much more"]} for each in ATTACKS]
    path = write_lines(tmp_path / "<img src=x onerror='window.hit=1'>.jsonl", rows)
    found = score_file(page, path)
    for attack, row in zip(ATTACKS, found, strict=True):
        assert row[1] == row[2] == attack[:100]
    assert path.name in text_of(page, "#file-status")
    assert page.run(kinds) == before
    assert page.run("window.hit") is None
    assert page.dialogs == []
    only_asked(page, server)


def test_a_phone_scrolls_the_table_alone(page, tmp_path):
    """At 360 points the table scrolls within itself."""
    page.look(width=360, height=740, phone=True)
    score_file(page, write_lines(tmp_path / "some.jsonl", [GOOD] * 3))
    assert page.run("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious_with_a_file(page, tmp_path, dark):
    """axe-core has no serious or critical finding while a file is scored and after it, light and
    dark, in both languages."""
    page.look(dark=dark)
    bring_axe(page)
    page.run(
        COUNTING
        + """window.slow = true; window.play = async (real, all) => {
      while (slow) await new Promise(r => setTimeout(r, 10));
      return real(...all);
    }; 0"""
    )
    give(page, write_lines(tmp_path / "some.jsonl", [GOOD, "{broken", GOOD]))
    page.until("document.getElementById('file-count').textContent === '1 of 3 lines'")
    assert serious_findings(page) == []
    page.run("slow = false; 0")
    page.until(ENDED)
    assert serious_findings(page) == []
    page.click("#language")
    assert serious_findings(page) == []
