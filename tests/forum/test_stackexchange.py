"""Stack Exchange dumps: what becomes a post, what is counted, what is refused."""

import time
import tracemalloc
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dumps import SITE, SITE_DROPPED, answer, document, question, row, write_7z

from worldpm.errors import DataError
from worldpm.forum import stackexchange
from worldpm.forum.forums import group_dumps, read_threads
from worldpm.forum.reading import ForumSettings, Reading
from worldpm.forum.rowxml import RowParser


def read(path):
    dropped = Counter()
    return list(read_stackexchange(path, lambda reason: dropped.update([reason]))), dropped


def read_stackexchange(path, drop, note=lambda name: None):
    settings = ForumSettings(min_answers=0)
    return read_threads("stackexchange", [path], settings, Reading(drop, note))


def test_threads_follow_questions_and_every_row_is_a_post_or_counted(tmp_path):
    """Rows in = posts out + dropped, each drop under its own reason."""
    threads, dropped = read(write_7z(tmp_path / "ai.stackexchange.com.7z", Posts=SITE))
    assert [[post.id for post in thread.posts] for thread in threads] == [
        ["1", "4", "5"],
        ["2", "3"],
    ]
    assert dropped == SITE_DROPPED
    assert sum(len(thread.posts) for thread in threads) + dropped.total() == SITE.count(b"<row ")


def test_thread_keeps_what_attribution_and_scores_need(tmp_path):
    """Links, licence, authors, raw votes and acceptance come from the row; score adds one."""
    first, second = read(write_7z(tmp_path / "ai.stackexchange.com.7z", Posts=SITE))[0]
    assert (first.source, first.id, first.title) == ("ai.stackexchange.com", "1", "Title 1")
    assert first.url == "https://ai.stackexchange.com/q/1"
    assert first.license == "CC BY-SA 3.0"
    assert first.question.author == "https://ai.stackexchange.com/users/7"
    four, five = first.answers
    assert (four.votes, four.accepted, four.score) == (4, False, 4)
    assert (five.votes, five.accepted, five.score) == (3, True, 4)
    assert five.url == "https://ai.stackexchange.com/a/5"
    assert five.author == "someone"
    assert (five.up, five.down) == (None, None)
    assert second.question.votes == -1


@pytest.mark.parametrize("tags", ["<a><b-c>", "|a|b-c|"])
def test_both_ways_of_writing_tags_are_read(tmp_path, tags):
    """Old dumps write `<a><b>`, newer ones `|a|b|`."""
    path = write_7z(tmp_path / "s.7z", Posts=document(question(1, Tags=tags)))
    assert read(path)[0][0].tags == ("a", "b-c")


def test_missing_licence_and_title_fall_back(tmp_path):
    """Dumps before 2020 carry no licence attribute; a missing title is empty, not an error."""
    rows = document(question(1, ContentLicense=None, Title=None, Tags=None))
    (thread,) = read(write_7z(tmp_path / "s.7z", Posts=rows))[0]
    assert (thread.license, thread.title, thread.tags) == ("CC BY-SA", "", ())


def test_votes_and_tags_beside_posts_are_used(tmp_path):
    """Votes of type 2 and 3 are counted up and down; a tag the site does not list is left out."""
    members = {
        "Posts": document(question(1), answer(2, 1, 1)),
        "Votes": document(
            row(Id=1, PostId=2, VoteTypeId=2),
            row(Id=2, PostId=2, VoteTypeId=2),
            row(Id=3, PostId=2, VoteTypeId=3),
            row(Id=4, PostId=2, VoteTypeId=5),
            root="votes",
        ),
        "Tags": document(row(Id=1, TagName="a"), root="tags"),
    }
    path, notes = write_7z(tmp_path / "site.org.7z", **members), []
    (packed,) = read_stackexchange(path, notes.append, notes.append)
    assert notes == ["tags_not_listed"]
    (reply,) = packed.answers
    assert (reply.up, reply.down, packed.tags) == (2, 1, ("a",))
    folder = tmp_path / "site.org"
    folder.mkdir()
    for name, data in members.items():
        (folder / f"{name}.xml").write_bytes(data)
    assert read(folder)[0] == read(folder / "Posts.xml")[0] == [packed]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_parser_gives_the_same_rows_however_the_bytes_are_cut(size):
    """A row cut anywhere, even within a character, is one row."""
    data = document(*(question(i, Title=f"\u00e9\u4e2d {i}") for i in range(20)))
    titles = []
    parser = RowParser("x", lambda element: titles.append(element.get("Title")))
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    parser.close()
    assert titles == [f"\u00e9\u4e2d {i}" for i in range(20)]


def test_parser_keeps_nothing():
    """Memory is bounded whatever stands below the root: rows, other elements, deep ones, text."""
    pieces = [question(1), "<other/>", "<x><row/><y>text</y></x>", "text " * 20, "<!-- c -->"]
    parser = RowParser("x", lambda row: None)
    parser.feed(b"<posts>")
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        for _ in range(3000):
            parser.feed("".join(pieces).encode())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 10_000


def test_attributes_arrive_as_an_xml_parser_reads_them():
    """The five entities, numbers, line ends and letters beyond ASCII, as the standard library."""
    text = "&amp; &amp;amp; &lt;p&gt; &quot;q&quot; &apos; &#xA;&#13;&#x4E2D;&#128512; \u00e9 a\nb"
    data = f'<posts><row Id="1" Body="{text}"/></posts>'.encode()
    found = []
    parser = RowParser("x", lambda row: found.append(row.get("Body")))
    parser.feed(data)
    parser.close()
    assert found == [ElementTree.fromstring(data)[0].get("Body")]


def test_only_rows_right_below_the_root_count():
    """A row within a row or within something else is none of the dump's."""
    found = []
    parser = RowParser("x", lambda row: found.append(row.get("Id")))
    parser.feed(b'<posts><row Id="1"><row Id="2"/></row><x><row Id="3"/></x><row Id="4"/></posts>')
    parser.close()
    assert found == ["1", "4"]


ENTITIES = {
    "external": '<!DOCTYPE posts [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    "internal": '<!DOCTYPE posts [<!ENTITY x "boo">]>',
    "parameter": '<!DOCTYPE posts [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>',
    "laughs": "<!DOCTYPE posts [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
    + "<!ENTITY x '&a11;'>]>",
}


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.parametrize("use", ["&x;", ""])
def test_entities_are_refused_at_once(tmp_path, kind, use):
    """External files, and billion laughs, end in an error that says where, within a second."""
    rows = question(1, Body="BODY").replace("BODY", use or "<p>x</p>".replace("<", "&lt;"))
    path = write_7z(tmp_path / "bad.7z", Posts=document(rows, head=ENTITIES[kind]))
    start = time.monotonic()
    with pytest.raises(DataError, match=r"bad\.7z: Posts\.xml: .*(entit|hostile)"):
        read(path)
    assert time.monotonic() - start < 1


def test_a_document_type_without_entities_is_harmless(tmp_path):
    """Old dumps name a posts.dtd; it is never loaded."""
    head = "<!DOCTYPE posts SYSTEM 'posts.dtd'>"
    path = write_7z(tmp_path / "s.7z", Posts=document(question(1), head=head))
    assert len(read(path)[0]) == 1


@pytest.mark.parametrize(
    "data",
    [
        SITE[:-20],
        SITE[: len(SITE) // 2],
        SITE.replace(b"</posts>", b"</other>"),
        b"",
        b"\x00\xff junk",
    ],
)
def test_broken_xml_is_an_error_with_file_and_member(tmp_path, data):
    """A Posts.xml cut short or garbled never passes as a smaller site."""
    with pytest.raises(DataError, match=r"s\.7z: Posts\.xml: .*(XML|hostile)"):
        read(write_7z(tmp_path / "s.7z", Posts=data))


def test_tables_without_posts_are_no_dump(tmp_path):
    """The largest site's votes alone would make an artefact of nothing."""
    votes = write_7z(tmp_path / "big.org-Votes.7z", Votes=document(root="votes"))
    with pytest.raises(DataError, match=r"one table of big\.org.*give big\.org-Posts\.7z too"):
        group_dumps("stackexchange", [votes], ForumSettings())
    posts = write_7z(tmp_path / "big.org-Posts.7z", Posts=document(question(1)))
    (group,) = group_dumps("stackexchange", [votes, posts], ForumSettings())
    assert set(group.paths) == {votes, posts}


def test_missing_files_are_named(tmp_path):
    """No such path, and an archive of something else, say so."""
    with pytest.raises(DataError, match=r"none\.7z: no such file"):
        read(tmp_path / "none.7z")
    with pytest.raises(DataError, match=r"holds no Posts\.xml; give sites' archives"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"holds no Posts\.xml"):
        read(write_7z(tmp_path / "s.7z", Users=b"<users/>"))


def test_bodies_that_lost_their_markup_are_counted(tmp_path):
    """A body too deep to convert stays a post, as plain text, and `note` hears of it."""
    deep = "<div>" * 3000 + "deep" + "</div>" * 3000
    path = write_7z(tmp_path / "s.7z", Posts=document(question(1, Body=deep), answer(2, 1, 1)))
    notes = []
    (thread,) = read_stackexchange(path, notes.append, notes.append)
    assert thread.question.text == "deep"
    assert notes == ["bodies_as_plain_text"]


def test_threads_are_made_lazily(tmp_path, monkeypatch):
    """Bodies are converted one thread at a time, as they are asked for."""
    converted = []
    monkeypatch.setattr(
        stackexchange, "to_markdown", lambda body, fallback: converted.append(body) or body
    )
    path = write_7z(tmp_path / "s.7z", Posts=document(*(question(i) for i in range(1, 50))))
    next(read_stackexchange(path, lambda reason: None))
    assert len(converted) == 1


@pytest.mark.parametrize(
    ("given", "site"),
    [
        (".", "ai.example.com"),
        ("../ai.example.com", "ai.example.com"),
        ("Posts.xml", "ai.example.com"),
        ("big.com-Posts.7z", "big.com"),
        ("big.com.7Z", "big.com"),
    ],
)
def test_a_site_has_its_name_however_it_is_given(tmp_path, monkeypatch, given, site):
    """Links credit the site, also where the path says "." or the archive holds one table."""
    (tmp_path / "ai.example.com").mkdir()
    monkeypatch.chdir(tmp_path / "ai.example.com")
    Path("Posts.xml").write_bytes(SITE)
    if given.endswith("7z") or given.endswith("7Z"):
        write_7z(Path(given), Posts=SITE)
    (first, *_), _ = read(Path(given))
    assert (first.source, first.url) == (site, f"https://{site}/q/1")
