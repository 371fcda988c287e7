"""show on data: figures, the page, the card, and why a thread, post or row is in no comparison."""

import shutil

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dumps import answer, document, question, write_7z

from worldpm.records import Thread
from worldpm.store import ArtifactWriter, read_artifact

ANSWERS = [answer(100 + n, 10, n % 5, CreationDate=f"2020-01-{n + 1:02}") for n in range(12)]
FORUM = document(
    question(10),
    *ANSWERS,
    question(20),
    answer(21, 20, 3),
    question(30),
    answer(31, 30, 2),
    answer(32, 30, 2),
    question(40),
)
ALL_THREADS = ("-q", "--set", "min_answers=0")


def without_ledger(folder):
    """The artefact as it is where no ledger was written: the threads have to tell."""
    shutil.rmtree(folder / "ledger", ignore_errors=True)
    return folder


@pytest.fixture
def forum(worldpm, tmp_path):
    """A forum's threads and the comparisons made of them, side by side, without a ledger."""
    dump = write_7z(tmp_path / "tea.example.7z", Posts=FORUM)
    threads, data = tmp_path / "tea-threads", tmp_path / "tea-data"
    assert worldpm("forum", "stackexchange", dump, "-o", threads, *ALL_THREADS).code == 0
    assert worldpm("pairs", threads, "-o", data, "-q").code == 0
    return threads, without_ledger(data)


def what(worldpm, folder, wanted):
    """The sentences of --why, by JSON, which are those of the text."""
    found = worldpm("show", folder, "--why", wanted, "--json").json["found"]
    text = worldpm("show", folder, "--why", wanted).out
    assert all(each["what"] in text for each in found)
    return [each["what"] for each in found]


# --- why -----------------------------------------------------------------------------------------


def test_why_a_thread_is_no_comparison(worldpm, forum):
    """From the comparisons alone, by the threads beside them: the reason and the scores."""
    _, data = forum
    for wanted, reason in {
        "20": "only_one_answer (scores of its answers: 3)",
        "30": "all_scores_equal (scores of its answers: 2, 2)",
        "tea.example:40": "no_answer (scores of its answers: none)",
    }.items():
        (sentence,) = what(worldpm, data, wanted)
        assert sentence == f"is a thread that makes no comparison: {reason}"
    (found,) = worldpm("show", data, "--why", "20", "--json").json["found"]
    assert (found["reason"], found["source"], found["id"]) == (
        "only_one_answer",
        "tea.example",
        "20",
    )


def test_why_a_post_is_no_reply(worldpm, forum):
    """An answer of such a thread, one that was not drawn, and the replies that were."""
    _, data = forum
    (sentence,) = what(worldpm, data, "32")
    assert sentence.startswith(
        "is a post of thread 30, which makes no comparison: all_scores_equal"
    )
    answers = [what(worldpm, data, str(100 + n))[0] for n in range(12)]
    drawn = [sentence for sentence in answers if "is reply" in sentence]
    assert len(drawn) == 8
    left = [sentence for sentence in answers if "of which 8 are kept" in sentence]
    assert len(left) == 4
    best = next(sentence for sentence in drawn if "with 4 votes" in sentence)
    assert "is beaten by 0 of the 7 others" in best
    (sentence,) = what(worldpm, data, "10")
    assert "8 replies" in sentence
    assert sentence.startswith("is a comparison of ")


def test_why_in_threads(worldpm, forum):
    """A folder of threads by itself answers with the default settings."""
    threads, _ = forum
    assert what(worldpm, threads, "tea.example:21") == [
        "is a post of thread 20, which makes no comparison: only_one_answer "
        "(scores of its answers: 3)"
    ]
    assert what(worldpm, threads, "10") == ["is a thread that makes a comparison of 8 replies"]


def test_why_by_the_settings_of_the_comparisons(worldpm, forum, tmp_path):
    """What the data's own settings left out is explained by them, not by the defaults."""
    threads, _ = forum
    strict = tmp_path / "strict"
    assert worldpm("pairs", threads, "-o", strict, "-q", "--set", "min_margin=9").code == 0
    (sentence,) = what(worldpm, without_ledger(strict), "10")
    assert "makes no comparison: all_margins_too_small" in sentence


def test_why_by_the_ledger_that_pairs_writes(worldpm, forum, tmp_path):
    """With the ledger that stands in the artefact the reasons are the same."""
    threads, _ = forum
    data = tmp_path / "whole"
    assert worldpm("pairs", threads, "-o", data, "-q").code == 0
    reasons = {"20": "only_one_answer", "21": "only_one_answer", "32": "all_scores_equal"}
    for wanted, reason in {**reasons, "tea.example:40": "no_answer"}.items():
        (found,) = worldpm("show", data, "--why", wanted, "--json").json["found"]
        assert found["reason"] == reason
        assert reason in found["what"]


def test_why_where_the_settings_need_a_first_pass(worldpm, forum):
    """Topics and exposure are fitted over all threads; the reason of one thread is told without."""
    _, data = forum
    manifest = orjson.loads((data / "manifest.json").read_bytes())
    manifest["settings"]["topics"]["power"] = 0.5
    (data / "manifest.json").write_bytes(orjson.dumps(manifest))
    (sentence,) = what(worldpm, data, "30")
    assert "all_scores_equal" in sentence
    manifest["settings"]["max_replies"] = "many"
    (data / "manifest.json").write_bytes(orjson.dumps(manifest))
    result = worldpm("show", data, "--why", "30")
    assert (result.code, "not those of this version" in result.err) == (1, True)


def test_why_of_two_sites_with_one_id(worldpm, tmp_path):
    """A bare id is answered for each source, SOURCE:ID for one; kept or dropped."""
    sites = {
        "a.example": document(question(1), answer(2, 1, 1), answer(3, 1, 5)),
        "b.example": document(question(1), answer(2, 1, 1)),
    }
    dumps = [write_7z(tmp_path / f"{name}.7z", Posts=site) for name, site in sites.items()]
    threads, data = tmp_path / "threads", tmp_path / "data"
    assert worldpm("forum", "stackexchange", *dumps, "-o", threads, *ALL_THREADS).code == 0
    assert worldpm("pairs", threads, "-o", data, "-q").code == 0
    both = worldpm("show", data, "--why", "1", "--json").json["found"]
    assert [(each["source"], each.get("reason")) for each in both] == [
        ("a.example", None),
        ("b.example", "only_one_answer"),
    ]
    assert len(what(worldpm, data, "b.example:1")) == 1


def write_ledger(folder, *rows):
    """A ledger of these rows, and its file."""
    path = folder / "ledger" / "dropped.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_why_of_a_thread_with_too_few_answers(worldpm, tmp_path):
    """Its question and its answer are in the ledger of the threads, which the data finds too."""
    dump = write_7z(tmp_path / "tea.example.7z", Posts=FORUM)
    threads, data = tmp_path / "threads", tmp_path / "data"
    assert worldpm("forum", "stackexchange", dump, "-o", threads, "-q").code == 0
    assert worldpm("pairs", threads, "-o", data, "-q").code == 0
    for folder in (threads, data):
        for wanted in ("20", "21", "tea.example:40"):
            assert what(worldpm, folder, wanted) == ["was left out: too_few_answers"]
        (found,) = worldpm("show", folder, "--why", "21", "--json").json["found"]
        assert found == {
            "where": str(threads / "ledger" / "tea.example.parquet"),
            "source": "tea.example",
            "id": "21",
            "what": "was left out: too_few_answers",
            "reason": "too_few_answers",
        }
        assert "all_scores_equal" in what(worldpm, folder, "30")[0]


def test_why_from_a_ledger(worldpm, data, tmp_path):
    """A ledger in the artefact tells the reason and what goes with it."""
    row = {"source": "pairs", "id": "p77", "reason": "near_duplicate", "detail": "twin of p3"}
    ledger = write_ledger(data, row, row | {"id": "p78", "detail": None})
    assert what(worldpm, data, "p77") == ["was left out: near_duplicate (twin of p3)"]
    assert what(worldpm, data, "pairs:p78") == ["was left out: near_duplicate"]
    found = worldpm("show", data, "--why", "p78", "--json").json["found"]
    assert (found[0]["reason"], found[0]["where"]) == ("near_duplicate", str(ledger))
    write_ledger(data, {"source": "pairs", "id": "p78"})
    result = worldpm("show", data, "--why", "p78")
    assert (result.code, "dropped.parquet: lacks reason" in result.err) == (1, True)


def test_why_of_a_post_of_a_thread_in_the_ledger(worldpm, forum):
    """What the ledger says of a thread holds for its posts, though by itself it would do."""
    _, data = forum
    row = {"source": "tea.example", "id": "10", "reason": "contaminated", "detail": "llmbar 7"}
    write_ledger(data, row)
    rest = [pq.read_table(path) for path in data.glob("t*.parquet")]
    for path, table in zip(data.glob("t*.parquet"), rest, strict=True):
        pq.write_table(table.slice(0, 0), path)
    assert what(worldpm, data, "10") == ["was left out: contaminated (llmbar 7)"]
    assert what(worldpm, data, "103") == [
        "is a post of thread 10, which was left out: contaminated (llmbar 7)"
    ]
    found = worldpm("show", data, "--why", "tea.example:103", "--json").json["found"]
    assert [each["reason"] for each in found] == ["contaminated"]


def test_why_with_colons(worldpm, tmp_path):
    """Sources and ids may hold colons themselves."""
    rows = [{"id": "a:b", "source": "x:y", "prompt": "?", "chosen": "c", "rejected": "r"}]
    (tmp_path / "rows.jsonl").write_bytes(orjson.dumps(rows[0]))
    data = tmp_path / "data"
    assert worldpm("import", "pairs", tmp_path / "rows.jsonl", "-o", data, "-q").code == 0
    row = {"source": "x:y", "id": "c:d", "reason": "exact_duplicate", "detail": None}
    write_ledger(data, row)
    for wanted in ("a:b", "x:y:a:b"):
        assert len(what(worldpm, data, wanted)) == 1
    for wanted in ("c:d", "x:y:c:d"):
        assert what(worldpm, data, wanted) == ["was left out: exact_duplicate"]
    assert worldpm("show", data, "--why", "b").code == 1


def test_why_of_a_row_and_of_nothing(worldpm, data, tmp_path):
    """A published row is found in its part; an unknown id is an error that says where it looked."""
    (sentence,) = what(worldpm, data, "p3")
    assert sentence.startswith("is a comparison of ")
    assert sentence.endswith(": 2 replies, 1 edges")
    result = worldpm("show", data, "--why", "p99")
    assert result.code == 1
    assert result.err.startswith(f"error: p99: nothing is known of it in {data}; give the id")
    assert worldpm("show", data, "--why", "other:p3").code == 1


def test_why_of_a_chain(worldpm, forum, tmp_path):
    """A post of the prompt below the question, and one that answers no question."""
    threads, _ = forum
    thread = next(t for t in read_artifact(threads, Thread) if t.id == "10")
    posts = thread.posts
    deep = Thread(
        "10/101", "tea.example", "t", (), (*posts[:2], *(
            type(posts[0])(f"c{n}", "100", None, None, f"c{n}", n) for n in range(3)
        ), type(posts[0])("far", "c0", None, None, "far", 1)), None, None, num_prompt_posts=2,
    )  # fmt: skip
    folder = tmp_path / "chain"
    with ArtifactWriter(folder, Thread, kind="threads", settings={}) as out:
        out.add("tea.example", deep)
    (sentence,) = what(worldpm, folder, "far")
    assert sentence == "is a post of thread 10/101, which it does not answer: it replies to post c0"
    assert worldpm("pairs", folder, "-o", tmp_path / "chained", "-q").code == 0
    (sentence,) = what(worldpm, tmp_path / "chained", "100")
    assert sentence.startswith("is part of the prompt of comparison 10/101 of ")


def test_why_with_damaged_files(worldpm, forum):
    """A file that cannot be read is named."""
    _, data = forum
    (part,) = [path for path in data.glob("*.parquet") if path.stat().st_size > 0][:1]
    part.write_bytes(part.read_bytes()[:-9])
    result = worldpm("show", data, "--why", "10")
    assert (result.code, "cannot be read as Parquet" in result.err) == (1, True)


# --- figures -------------------------------------------------------------------------------------


def test_figures_of_comparisons_and_threads(worldpm, forum, data):
    """Quantiles and biases, as text and as numbers; what a set does not know is not shown."""
    threads, comparisons = forum
    found = worldpm("show", comparisons, "--json").json["figures"]
    assert (found["read"], found["replies"]) == (1, [8] * 5)
    assert found["votes"][0] == 0
    assert found["votes"][-1] == 4
    assert 0 < found["earlier_reply_wins"] < 1
    text = worldpm("show", comparisons).out
    assert "reply characters" in text
    assert "the earlier reply wins" in text
    found = worldpm("show", threads, "--json").json["figures"]
    assert (found["read"], found["answers"][-1]) == (4, 12)
    assert "answer score" in worldpm("show", threads).out
    text = worldpm("show", data).out
    assert "votes" not in text
    assert "the earlier reply wins" not in text
    assert "of a sample" not in text


# --- page and card -------------------------------------------------------------------------------


def test_the_page(worldpm, forum, tmp_path):
    """One file, not overwritten without --force, with the samples asked for."""
    _, data = forum
    page = tmp_path / "page.html"
    result = worldpm("show", data, "--html", page, "--json")
    assert result.json["bytes"] == page.stat().st_size < 5_000_000
    text = page.read_text()
    assert "Title 10" in text
    assert "only_one_answer" in text
    assert "exists already" in worldpm("show", data, "--html", page).err
    assert worldpm("show", data, "--html", page, "--force", "--samples", "0").code == 0
    assert "Title 10" not in page.read_text()


def test_the_card_of_an_artefact_and_of_an_export(worldpm, forum, tmp_path):
    """show prints the card with the artefact's own files; export writes it beside the rows."""
    _, data = forum
    printed = worldpm("show", data, "--card").out
    assert 'path: "' in printed
    assert '*.parquet"' in printed
    assert "| `only_one_answer` | 1 |" in printed
    assert worldpm("show", data, "--card", "--json").json["card"] == printed
    assert worldpm("export", data, "-o", tmp_path / "out", "--format", "trl").code == 0
    written = (tmp_path / "out" / "README.md").read_text()
    assert '.jsonl"' in written
    assert "| chosen |" in written
    lines = [len(each.read_text().splitlines()) for each in (tmp_path / "out").glob("*.jsonl")]
    assert sum(lines) > 1
    assert any(written.count(f"| 1 | {count} |") for count in lines)
    assert "- <https://tea.example/" in written
    again = worldpm("export", data, "-o", tmp_path / "out", "--format", "trl")
    assert (again.code, "exists already" in again.err) == (1, True)


def test_a_card_in_the_way_is_not_overwritten(worldpm, data, tmp_path):
    """A README.md of the user's stops an export before a row is written."""
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("my notes")
    result = worldpm("export", data, "-o", out)
    assert result.code == 1
    assert "README.md: exists already" in result.err
    assert [path.name for path in out.iterdir()] == ["README.md"]
    one = tmp_path / "one" / "rows.jsonl"
    assert worldpm("export", data, "-o", one).code == 0
    assert [path.name for path in one.parent.iterdir()] == ["rows.jsonl"]  # one file, no card


def test_rows_for_trl_say_whose_they_are(worldpm, forum, tmp_path):
    """Each row of an edge holds the comparison's id, its source and its link."""
    _, data = forum
    assert worldpm("export", data, "-o", tmp_path / "t.jsonl", "--format", "trl").code == 0
    rows = [orjson.loads(line) for line in (tmp_path / "t.jsonl").read_bytes().splitlines()]
    assert {(row["source"], row["id"]) for row in rows} == {("tea.example", "10")}
    assert all(row["url"].startswith("https://") for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--why", "1", "--card"], "each need a call of their own"),
        (["--html", "x.html", "--card"], "each need a call of their own"),
    ],
)
def test_one_view_at_a_time(worldpm, data, options, message):
    """Two views at once are refused."""
    result = worldpm("show", data, *options)
    assert (result.code, message in result.err) == (1, True)


def test_views_of_other_things_are_refused(worldpm, threads, tmp_path, pair_rows):
    """The page and the card are of comparisons; a plain file has no manifest."""
    for option in (["--card"], ["--html", tmp_path / "x.html"]):
        result = worldpm("show", threads, *option)
        assert (result.code, "holds threads, not comparisons" in result.err) == (1, True)
    result = worldpm("show", pair_rows, "--why", "p1")
    assert (result.code, "no manifest.json" in result.err) == (1, True)
