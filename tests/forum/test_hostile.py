"""Dumps that are damaged or meant to harm: an error that names them, or rows counted exactly."""

import random
import time
from collections import Counter

import orjson
import pytest
from bigdump import posts_xml, write_big_7z
from dumps import REDDIT, answer, comment, document, question, row, submission, write_lines

from worldpm.errors import DataError
from worldpm.forum.forums import FORUMS, read_threads
from worldpm.forum.markup import to_markdown
from worldpm.forum.reading import Reading

TOPIC = {
    "id": 1,
    "title": "How?",
    "post_stream": {
        "posts": [
            {"id": n, "post_number": n, "cooked": f"<p>Post {n}</p>", "actions_summary": []}
            for n in range(1, 9)
        ]
    },
}
PLAIN = [
    {"id": n, "title": f"T{n}", "answers": [{"text": f"A {m}", "votes": m} for m in range(3)]}
    for n in range(30)
]
QUORA = [{"question": f"Q{n % 9}?", "answer": f"A {n}.", "upvotes": n} for n in range(60)]


def small_dumps(folder):
    """A dump of every forum and of each packing, by the forum's name."""
    posts = folder / "site" / "Posts.xml"
    posts.parent.mkdir()
    posts.write_bytes(b"".join(posts_xml(20_000)))
    return [
        ("stackexchange", write_big_7z(folder / "s.7z", 20_000)),
        ("stackexchange", posts),
        ("reddit", write_lines(folder / "RS_1.zst", *REDDIT)),
        ("reddit", write_lines(folder / "RS_2.jsonl", *REDDIT)),
        ("quora", write_lines(folder / "q.jsonl.gz", *QUORA)),
        ("discourse", write_lines(folder / "d.jsonl", *(TOPIC | {"id": n} for n in range(9)))),
        ("plain", write_lines(folder / "p.jsonl.zst", *PLAIN)),
    ]


def read(forum, path):
    dropped = Counter()
    reading = Reading(lambda reason: dropped.update((reason,)))
    settings = FORUMS[forum].settings(min_answers=0)
    return list(read_threads(forum, [path], settings, reading)), dropped


def damaged(data, chance):
    """The bytes cut short, with flipped bits, with a piece doubled, or with noise in them."""
    place = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        return data[:place]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 9)):
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == 2:
        return data[:place] + data[max(0, place - 200) :]
    return data[:place] + chance.randbytes(20) + data[place + 20 :]


def refusal(forum, path):
    """The message of the DataError that reading ends in, or None; anything else comes through."""
    try:
        read(forum, path)
    except DataError as error:
        return str(error)
    return None


def damage_all(folder, count, seed):
    """Read every small dump in `count` damaged forms; how many were refused."""
    chance, refused = random.Random(seed), Counter()
    for forum, path in small_dumps(folder):
        whole = path.read_bytes()
        for _ in range(count):
            path.write_bytes(damaged(whole, chance))
            begin = time.process_time()
            error = refusal(forum, path)
            assert error is None or path.name in error
            refused[path.name] += error is not None
            assert time.process_time() - begin < 5
        path.write_bytes(whole)
        assert read(forum, path)[0]
    return refused


def test_damaged_dumps_are_refused_or_counted(tmp_path):
    """Cut, flipped, doubled, noisy: a DataError that names the file, or fewer rows."""
    refused = damage_all(tmp_path, 30, seed=1)
    assert refused["s.7z"] > 20  # its checksums find nearly all
    assert refused["Posts.xml"] > 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_damaged_dumps(tmp_path):
    """The same, some twenty thousand times."""
    damage_all(tmp_path, 2900, seed=2)


# Reason -> a row of Posts.xml that is dropped for it; {} stands for a number of its own.
BAD_ROWS = {
    "wiki_post": row(Id="{}", PostTypeId=3, Score=1, Body="x"),
    "tag_wiki": row(Id="{}", PostTypeId=5, Score=1, Body="x"),
    "unknown_post_type": row(Id="{}", PostTypeId="'x", Score=1, Body="x"),
    "malformed_id": row(Id="-{}", PostTypeId=1, Score=1, Body="x"),
    "no_score": row(Id="{}", PostTypeId=1, Body="x"),
    "malformed_score": row(Id="{}", PostTypeId=1, Score="1e3", Body="x"),
    "empty_body": row(Id="{}", PostTypeId=1, Score=1, Body=" \n"),
    "answer_without_parent": row(Id="{}", PostTypeId=2, Score=1, Body="x"),
    "answer_question_missing": row(Id="{}", PostTypeId=2, ParentId=9999999, Score=1, Body="x"),
    "repeated_id": row(Id="1", PostTypeId=1, Score=1, Body="x"),
}


def test_planted_rows_are_counted_exactly(tmp_path):
    """Forty of every kind among good ones, shuffled: as many drops, and every good row kept."""
    good = [question(1), *(answer(n, 1, n) for n in range(2, 40))]
    bad = [
        text.replace("{}", str(1000 + 100 * kind + n))
        for kind, text in enumerate(BAD_ROWS.values())
        for n in range(40)
    ]
    mixed = good[1:] + bad
    random.Random(0).shuffle(mixed)
    site = tmp_path / "site"
    site.mkdir()
    (site / "Posts.xml").write_bytes(document(good[0], *mixed))
    (thread,), dropped = read("stackexchange", site)
    assert dropped == dict.fromkeys(BAD_ROWS, 40)
    assert len(thread.posts) == len(good)


BAD_LINES = {
    "malformed_json": [b'{"id": ', b"\xff\xfe{}", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 2000],
    "not_an_object": [b"[]", b"1", b"null", b'"link_id"', b"true"],
    "line_too_long": [b'{"body": "' + b"x" * (1 << 20) + b'"}'],
    "malformed_id": [
        orjson.dumps(comment(own, "s1", "x", 1) | more)
        for own, more in [
            ("A B", {}), ("", {}), (None, {}), (7, {}), ("c", {"link_id": 5}),
            ("c", {"link_id": "t3_../../x"}), ("c", {"parent_id": []}), ("c" * 99, {}),
        ]
    ],
    "malformed_score": [
        orjson.dumps(comment(f"s{n}", "s1", "x", score))
        for n, score in enumerate([1.5, "many", True, [], {}, 10**13, "9" * 30])
    ],
    "no_score": [orjson.dumps(comment(f"n{n}", "s1", "x", s)) for n, s in enumerate([None, ""])],
    "malformed_body": [
        orjson.dumps(comment(f"b{n}", "s1", body, 1)) for n, body in enumerate([1, [], {"a": 1}])
    ],
}  # fmt: skip


def test_planted_lines_are_counted_exactly(tmp_path):
    """Every kind of bad line in a Reddit dump, among good ones: its reason, as often as planted."""
    good = [orjson.dumps(submission("s1"))]
    good += [orjson.dumps(comment(f"g{n}", "s1", f"Good {n}.", n)) for n in range(50)]
    lines = [line for kinds in BAD_LINES.values() for line in kinds] + good
    random.Random(1).shuffle(lines)
    path = tmp_path / "RC_1.jsonl"
    path.write_bytes(b"\n".join(lines))
    (thread,), dropped = read("reddit", path)
    assert dropped == {reason: len(kinds) for reason, kinds in BAD_LINES.items()}
    assert len(thread.answers) == 50


TAGS = ("div", "blockquote", "ul><li", "ol><li", "table><tr><td", "b", "a href='x'", "pre><code",
        "svg", "script", "style", "select><option")  # fmt: skip
HTML = {
    **{f"{tag} deep": f"<{tag}>" * 2000 + "text" for tag in TAGS},
    **{f"{tag} many": f"<{tag}>text</{tag.split('>')[0].split()[0]}>" * 3000 for tag in TAGS},
    "unclosed": "<" * 50_000 + "text",
    "attributes": "<p " + "a='b' " * 20_000 + ">text</p>",
    "long attribute": f"<a href='{'x' * 200_000}'>text</a>",
    "entities": "&" * 100_000 + "text",
    "numbers": "&#x10FFFF;&#0;&#xD800;&#99999999999;text" * 500,
    "comments": "<!--" * 20_000 + "text",
    "half a comment": "text<!-- -- >" * 5000,
    "doctype": '<!DOCTYPE x [<!ENTITY a "b">]><p>text &a;</p>',
    "nul": "te\0xt text" * 1000,
    "surrogates": "text \ud800 \udfff",
    "right to left": "text \u202e\u2066" * 5000,
    "blanks": "text" + " \t\n" * 60_000 + "text",
    "no break": "text" + "\u00a0" * 60_000,
    "mixed case": "<DiV><P>text</p></dIv>" * 2000,
    "cdata": "<![CDATA[text]]>" * 3000 + "text",
    "php": "<?php echo 1; ?>text" * 3000,
    "crossed": "<b><i>text</b></i>" * 4000,
    "table": "<table>" + "<tr>" + "<td>text" * 200 + "<tr><td>x" * 500,
    "colspan": "<table><tr><td colspan=999999999>text</table>",
    "list numbers": "<ol start=99999999999999><li>text</ol>",
    "images": "<img src='data:image/png;base64," + "A" * 100_000 + "'>text",
    "links": "<a href='javascript:alert(1)'>text</a>" * 2000,
    "headings": "<h1>text" * 3000,
    "breaks": "text<br>" * 20_000,
    "ruby": "<ruby>text<rt>x</rt></ruby>" * 2000,
    "frames": "<iframe src='file:///etc/passwd'></iframe>text",
}


@pytest.mark.parametrize("kind", HTML)
def test_hostile_html_ends_soon(kind):
    """Within two seconds, never a crash, and never silently empty where there was text."""
    lost = []
    begin = time.process_time()
    found = to_markdown(HTML[kind], lambda: lost.append(1))
    assert time.process_time() - begin < 2
    hidden = kind.startswith(("script", "style", "comments"))
    assert found or hidden


def test_every_forum_is_damaged_here(tmp_path):
    """A forum that is added is damaged too."""
    assert {forum for forum, _ in small_dumps(tmp_path)} == FORUMS.keys()
