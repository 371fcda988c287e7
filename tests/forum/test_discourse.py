"""Discourse topics: posts and likes, however the dump is packed; hostile archives do no harm."""

import io
import tarfile
from collections import Counter

import orjson
import pytest

from worldpm.errors import DataError
from worldpm.forum import discourse as module
from worldpm.forum.discourse import DiscourseSettings
from worldpm.forum.forums import read_threads
from worldpm.forum.lines import zstd
from worldpm.forum.reading import Reading


def post(number, likes=None, **more):
    row = {
        "id": 100 + number,
        "post_number": number,
        "post_type": 1,
        "cooked": f"<p>Post <em>{number}</em></p>",
        "username": "jo",
        "user_id": 7,
        "created_at": "2016-11-13T05:22:31.000Z",
        "actions_summary": [] if likes is None else [{"id": 6}, {"id": 2, "count": likes}],
        "reply_to_post_number": None,
        "accepted_answer": False,
    }
    return row | more


def topic(*posts, topic_id=1, **more):
    row = {
        "id": topic_id,
        "title": "How  to?",
        "slug": "how-to",
        "archetype": "regular",
        "tags": ["a", {"name": "b"}],
        "post_stream": {"posts": list(posts), "stream": [each["id"] for each in posts]},
    }
    return row | more


def tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(tmp_path, *topics, path=None, **settings):
    settings = {"min_answers": 0, **settings}
    if path is None:
        members = {f"posts/json/{n}.json": orjson.dumps(each) for n, each in enumerate(topics)}
        path = tar(tmp_path / "u3d.tar.gz", members)
    dropped, notes = Counter(), Counter()
    reading = Reading(lambda r: dropped.update([r]), lambda n: notes.update([n]))
    return (
        list(read_threads("discourse", [path], DiscourseSettings(**settings), reading)),
        dropped,
        notes,
    )


TOPIC = topic(post(1, 3), post(2), post(3, 2, accepted_answer=True), post(4, 1))


def test_a_topic_becomes_a_thread(tmp_path):
    """Likes are votes, the accepted answer is marked, HTML is Markdown, links need the site."""
    (thread,), dropped, _ = read(tmp_path, TOPIC)
    assert (thread.id, thread.source, thread.title, thread.url) == ("1", "u3d", "How to?", None)
    assert thread.tags == ("a", "b")
    assert thread.question.text == "Post *1*"
    assert thread.question.created == "2016-11-13T05:22:31.000"
    assert [(p.votes, p.accepted, p.score) for p in thread.answers] == [
        (0, False, 0), (2, True, 3), (1, False, 1),
    ]  # fmt: skip
    assert not dropped
    (thread,), *_ = read(tmp_path, TOPIC, site="forum.example.org")
    assert thread.source == "forum.example.org"
    assert thread.url == "https://forum.example.org/t/how-to/1"
    assert thread.answers[0].url == "https://forum.example.org/t/how-to/1/2"
    assert thread.answers[0].author == "https://forum.example.org/u/jo"


def test_acceptance_may_stand_at_the_topic(tmp_path):
    """Newer versions name the accepted post's number beside the posts."""
    (thread,), *_ = read(
        tmp_path, topic(post(1), post(2), post(3), accepted_answer={"post_number": 3})
    )
    assert [p.accepted for p in thread.answers] == [False, True]


PACKED = ("tar.gz", "tar", "tar.zst", "tgz", "tar.xz", "folder", "jsonl", "jsonl.zst")


@pytest.mark.parametrize("form", PACKED)
def test_every_form_gives_the_same_threads(tmp_path, form):
    """Archives packed in any way, folders and JSON lines."""
    topics = [TOPIC, topic(post(1), topic_id=2)]
    expected = read(tmp_path, *topics)
    data = {f"t/{n}.json": orjson.dumps(each) for n, each in enumerate(topics)}
    path = tmp_path / form / f"u3d.{form}"
    path.parent.mkdir()
    lines = b"\n".join(data.values())
    if form == "folder":
        path = path.parent / "u3d"
        (path / "t").mkdir(parents=True)
        for name, value in data.items():
            (path / name).write_bytes(value)
    elif form.startswith("jsonl"):
        path.write_bytes(lines if form == "jsonl" else zstd.compress(lines))
    elif form == "tar.zst":
        path.write_bytes(zstd.compress(tar(tmp_path / "x.tar", data, "w").read_bytes()))
    else:
        tar(path, data, {"tar.gz": "w:gz", "tgz": "w:gz", "tar": "w", "tar.xz": "w:xz"}[form])
    assert read(tmp_path, path=path) == expected


DROPPED_POSTS = {
    "small_action": post(9, post_type=3),
    "moderator_action": post(9, post_type=2),
    "whisper": post(9, post_type=4),
    "unknown_post_type": post(9, post_type=8),
    "malformed_type": post(9, post_type="x"),
    "hidden": post(9, hidden=True),
    "deleted": post(9, deleted_at="2020-01-01"),
    "bot": post(9, user_id=-1),
    "empty_body": post(9, cooked="<p></p>"),
    "malformed_body": post(9, cooked=["x"]),
    "malformed_score": post(9, "many"),
    "no_score": post(9, actions_summary=None),
    "malformed_id": post(9, post_number="x"),
    "repeated_id": post(9, id=102),
    "not_an_object": 3,
}


@pytest.mark.parametrize("reason", DROPPED_POSTS)
def test_each_post_left_out_has_its_reason(tmp_path, reason):
    """The post goes under its own name; the others stay."""
    whole = topic(post(1), post(2), post(3, 1))
    whole["post_stream"]["posts"].append(DROPPED_POSTS[reason])
    (thread,), dropped, _ = read(tmp_path, whole)
    assert dropped == {reason: 1}
    assert len(thread.posts) == 3


@pytest.mark.parametrize(
    ("more", "dropped"),
    [
        ({"archetype": "private_message"}, {"private_message": 4}),
        ({"post_stream": None}, {"malformed_topic": 1}),
        ({"post_stream": {"posts": []}}, {"malformed_topic": 1}),
        ({"post_stream": {"posts": {"a": 1}}}, {"malformed_topic": 1}),
        ({"id": "1"}, {"malformed_topic": 1}),
        ({"id": 5}, {"repeated_topic": 4}),
    ],
)
def test_topics_left_out_are_counted_by_their_posts(tmp_path, more, dropped):
    """Private messages are never kept; a topic that is none counts once."""
    threads, found, _ = read(tmp_path, topic(post(1), topic_id=5), TOPIC | more)
    assert [thread.id for thread in threads] == ["5"]
    assert found == dropped


def test_answers_of_a_dropped_first_post_are_counted(tmp_path):
    """Without its question a topic is no thread."""
    threads, dropped, _ = read(tmp_path, topic(post(1, hidden=True), post(2), post(3)))
    assert (threads, dropped) == ([], {"hidden": 1, "answer_of_dropped_question": 2})


def test_replies_to_replies_are_answers_or_chains_by_setting(tmp_path):
    """Flat by default; with a depth, posts that name another one hang below it."""
    rows = [post(1), post(2), post(3, reply_to_post_number=2), post(4, reply_to_post_number=2)]
    rows += [post(5, reply_to_post_number=1), post(6, reply_to_post_number=7), post(7, hidden=True)]
    ids = lambda threads: [[p.id for p in each.posts] for each in threads]  # noqa: E731
    threads, dropped, _ = read(tmp_path, topic(*rows))
    assert ids(threads) == [["101", "102", "103", "104", "105", "106"]]
    assert dropped == {"hidden": 1}
    threads, dropped, _ = read(tmp_path, topic(*rows), depth=1)
    assert ids(threads) == [["101", "102", "105"]]
    assert dropped == {"hidden": 1, "reply_below_depth": 2, "reply_to_dropped_post": 1}
    threads, dropped, _ = read(tmp_path, topic(*rows), depth=2)
    assert ids(threads) == [["101", "102", "105"], ["101", "102", "103", "104"]]
    assert (threads[1].id, threads[1].num_prompt_posts) == ("1/102", 2)
    assert dropped == {"hidden": 1, "reply_to_dropped_post": 1}


def test_a_topic_with_a_page_of_its_posts_is_noted(tmp_path):
    """Forums serve the first 20 posts and the ids of all."""
    cut = topic(post(1), post(2))
    cut["post_stream"]["stream"] = list(range(50))
    assert read(tmp_path, cut)[2] == {"topics_without_all_posts": 1}


FURNITURE = {
    '<p>Hi <img src="e.png" title=":smile:" class="emoji" alt=":smile:"> you</p>': "Hi :smile: you",
    '<aside class="quote"><div class="title"><img alt="" src="a.png" class="avatar"> jo:</div>'
    "<blockquote><p>q</p></blockquote></aside><p>a</p>": "jo:\n> q\n\na",
    '<p><div class="lightbox-wrapper"><a href="b.png"><img src="s.png" alt="cat"><div class="meta">'
    '<span class="filename">cat.png</span> 1.2 MB</div></a></div></p>': "[![cat](s.png)](b.png)",
    '<p>a</p><div class="meta">unclosed': "a\n\nunclosed",
}


@pytest.mark.parametrize("body", FURNITURE)
def test_what_the_page_adds_to_a_post_goes(tmp_path, body):
    """Emoji become their names; portraits in quotes and captions of pictures go."""
    (thread,), *_ = read(tmp_path, topic(post(1, cooked=body), post(2)))
    assert thread.question.text == FURNITURE[body]


@pytest.mark.parametrize("cut", [0.1, 0.6, 0.98])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_cut_short_is_an_error(tmp_path, cut, mode):
    """Never a smaller forum."""
    members = {f"{n}.json": orjson.dumps(topic(post(1), topic_id=n)) * 3 for n in range(20)}
    path = tar(tmp_path / ("u.tar.gz" if mode == "w:gz" else "u.tar"), members, mode)
    data = path.read_bytes()
    size = int(cut * len(data)) if mode == "w:gz" else int(cut * 20) * 2048 + 700
    path.write_bytes(data[:size])
    with pytest.raises(DataError, match=r"u\.tar.*download it again"):
        read(tmp_path, path=path)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda data, header: data[:header],
        lambda data, header: data[: header + 100],
        lambda data, header: data[:header] + b"?" + data[header + 1 :],
    ],
    ids=["cut before a header", "cut in a header", "a damaged header"],
)
def test_an_archive_whose_headers_end_too_early_is_an_error(tmp_path, damaged):
    """Though all the members before it are whole."""
    members = {f"{n}.json": orjson.dumps(topic(post(1), topic_id=n)) for n in range(40)}
    path = tar(tmp_path / "u.tar", members, "w")
    assert len(read(tmp_path, path=path)[0]) == 40
    with tarfile.open(path) as archive:
        header = archive.getmembers()[30].offset
    path.write_bytes(damaged(path.read_bytes(), header))
    with pytest.raises(DataError, match=r"u\.tar: not a complete tar archive .*download it again"):
        read(tmp_path, path=path)


def test_names_in_an_archive_are_never_used(tmp_path):
    """Members that escape, link out or are devices: nothing is written, links are not read."""
    path = tmp_path / "u.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../x.json", "/etc/x.json", "C:\\x.json", "a" * 5000 + ".json"):
            info = tarfile.TarInfo(name)
            data = orjson.dumps(topic(post(1), topic_id=len(name)))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("passwd.json")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    threads, dropped, _ = read(tmp_path, path=path)
    assert len(threads) == 4
    assert not dropped
    assert sorted(tmp_path.rglob("*")) == before


def test_large_and_broken_members_are_counted(tmp_path, monkeypatch):
    """Too large, no JSON, no object: a drop each; the rest is read."""
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 10_000)
    members = {
        "1.json": orjson.dumps(TOPIC),
        "2.json": b"{",
        "3.json": b"[]",
        "4.json": b"x" * 10_001,
    }
    _, dropped, _ = read(tmp_path, path=tar(tmp_path / "u.tar.gz", members | {"a.txt": b"?"}))
    assert dropped == {"malformed_json": 1, "not_an_object": 1, "topic_too_large": 1}


def test_what_holds_no_topic_is_an_error(tmp_path):
    """An archive of something else says so."""
    with pytest.raises(DataError, match="holds no topic"):
        read(tmp_path, path=tar(tmp_path / "u.tar.gz", {"a.txt": b"?"}))


WRONG = [None, True, 3, -1, 2.5, "x", "", [], {}, [[3]], {"id": {}}, 10**18]


def test_any_field_may_be_of_any_type(tmp_path):
    """Posts and topics with one wrong field: never an exception, every post counted."""
    rows = [topic(post(1), post(2) | {key: value}) for key in post(1) for value in WRONG]
    rows += [TOPIC | {key: value} for key in TOPIC for value in WRONG if key != "post_stream"]
    for number, row in enumerate(rows, 1):
        row["id"] = number if isinstance(row.get("id"), int) else row.get("id")
        for settings in ({}, {"depth": 2}):
            threads, dropped, _ = read(tmp_path, row, topic(post(1), topic_id=10**6), **settings)
            made = sum(len(t.answers) + (t.num_prompt_posts == 1) for t in threads)
            posts = len(row["post_stream"]["posts"])
            assert made + dropped.total() == 1 + (1 if dropped["malformed_topic"] else posts)
