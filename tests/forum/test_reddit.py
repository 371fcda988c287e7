"""Reddit dumps: which rows become posts, which are dropped and why, in any order of the files."""

import itertools
from collections import Counter

import pytest
from dumps import REDDIT, REDDIT_DROPPED, comment, submission, write_lines

from worldpm.config import load_settings
from worldpm.errors import ConfigError, DataError
from worldpm.forum.forums import group_dumps, read_threads
from worldpm.forum.reading import Reading
from worldpm.forum.reddit import RedditSettings


def read(tmp_path, *rows, files=None, **settings):
    settings = {"min_answers": 0, **settings}
    paths = files or [write_lines(tmp_path / "RS_2021-06.zst", *rows)]
    dropped = Counter()
    reading = Reading(lambda r: dropped.update([r]), lambda n: None)
    return list(read_threads("reddit", paths, RedditSettings(**settings), reading)), dropped


def test_submissions_and_comments_become_threads(tmp_path):
    """The title, text, links, votes and times of a submission and its direct comments."""
    (thread,), dropped = read(
        tmp_path,
        comment("c2", "s1", "Second &amp; best.", 7, created_utc=1490849322),
        comment("c1", "s1", "First.\r\n\r\n", -3, author="[deleted]"),
        submission("s1", title="Why\n so?", selftext="&gt; quote\n\nbody&#x200B;", score=5),
    )
    assert not dropped
    assert (thread.id, thread.source, thread.title) == ("t3_s1", "reddit", "Why so?")
    assert thread.url == "https://www.reddit.com/r/College/comments/s1/why/"
    assert thread.tags == ("r/College", "Advice")
    question, first, second = thread.posts
    assert (question.text, question.votes, question.parent) == ("> quote\n\nbody", 5, None)
    assert (first.id, first.text, first.votes, first.author) == ("t1_c1", "First.", -3, None)
    assert (second.text, second.votes, second.parent) == ("Second & best.", 7, "t3_s1")
    assert second.author == "https://www.reddit.com/user/someone"
    assert second.created == "2017-03-30T04:48:42"
    assert second.url == "https://www.reddit.com/comments/s1/_/c2/"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_row_is_a_post_or_dropped_with_its_reason(tmp_path, depth):
    """The fixture's rows: posts + dropped = rows, and each reason as often as it was planted."""
    threads, dropped = read(tmp_path, *REDDIT, depth=depth)
    posts = [post.id for thread in threads for post in thread.answers]
    posts += [thread.question.id for thread in threads if thread.num_prompt_posts == 1]
    assert len(posts) == len(set(posts))
    assert len(posts) + dropped.total() == len(REDDIT)
    assert dropped == REDDIT_DROPPED[depth]


def test_chains_are_the_prompts_below(tmp_path):
    """With depth 2 a comment with two replies is a thread, whose prompt is the chain down to it."""
    threads, _ = read(tmp_path, *REDDIT, depth=2)
    below = {thread.id: thread for thread in threads if thread.num_prompt_posts > 1}
    assert list(below) == ["t3_s1/t1_c1"]
    chain = below["t3_s1/t1_c1"]
    assert [post.id for post in chain.prompt] == ["t3_s1", "t1_c1"]
    assert [post.id for post in chain.answers] == ["t1_n1", "t1_n2"]


def test_neither_the_order_of_rows_nor_of_files_nor_the_shards_matter(tmp_path):
    """The same threads, whatever order: comments first, halves swapped, one file or two."""
    rows = list(REDDIT)
    expected, dropped = read(tmp_path, *rows, depth=3)
    orders = [rows[::-1], rows[7:] + rows[:7], sorted(rows, key=repr)]
    for number, order in enumerate(orders):
        half = len(order) // 2
        one = write_lines(tmp_path / f"RC_{number}.zst", *order[:half])
        two = write_lines(tmp_path / f"RS_{number}.jsonl.gz", *order[half:])
        for files in itertools.permutations([one, two]):
            assert read(tmp_path, files=files, depth=3) == (expected, dropped)
    for shard_bytes, least in ((500, 2), (100, 6)):
        settings = {"depth": 3, "shard_bytes": shard_bytes}
        threads, again = read(tmp_path, *rows, **settings)
        (group,) = group_dumps("reddit", [tmp_path / "RS_2021-06.zst"], RedditSettings(**settings))
        assert group.num_shards >= least
        assert sorted(threads, key=lambda t: t.id) == sorted(expected, key=lambda t: t.id)
        assert again == dropped


@pytest.mark.parametrize(
    ("more", "reason", "setting"),
    [
        ({"over_18": True}, "nsfw", {"nsfw": True}),
        (
            {"selftext": "", "is_self": False, "url": "https://x.org/a", "domain": "x.org"},
            "link_only",
            {"link_only": True},
        ),
        ({"author": "AutoModerator"}, "bot", {"bots": True}),
    ],
)
def test_settings_keep_what_is_dropped_otherwise(tmp_path, more, reason, setting):
    """Over 18, links without text, and bots: out by their reasons, in by a setting."""
    rows = [submission("s1", **more), comment("c1", "s1", "a", 1)]
    assert read(tmp_path, *rows) == ([], {reason: 1, "answer_of_dropped_question": 1})
    (thread,), dropped = read(tmp_path, *rows, **setting)
    assert not dropped
    assert thread.question.text == ("https://x.org/a" if reason == "link_only" else "Body s1")


def test_a_title_alone_is_a_question(tmp_path):
    """A submission without text that links nowhere asks with its title."""
    for more in ({"is_self": True}, {"url": "https://www.reddit.com/r/A/comments/s1/x/"}, {}):
        (thread,), _ = read(
            tmp_path, submission("s1", selftext="", **more), comment("c", "s1", "a", 1)
        )
        assert (thread.title, thread.question.text) == ("Title s1", "")


BOTS = ["I am a bot, and this action was performed automatically.", "Beep. ^(I'm ^a ^bot)"]
NO_BOTS = ["What if I'm a bot?", "I am about to go", "Is this a bot?"]


@pytest.mark.parametrize("text", BOTS + NO_BOTS)
def test_bots_are_known_by_what_they_say(tmp_path, text):
    """Where authors are redacted, the usual signature tells a bot from talk of bots."""
    _, dropped = read(
        tmp_path, submission("s1"), comment("c", "s1", text, 1), comment("d", "s1", "x", 1)
    )
    assert dropped == ({"bot": 1} if text in BOTS else {})


@pytest.mark.parametrize("name", ["AutoModerator", "RemindMeBot", "B0tRank_bot", "some-bot"])
def test_bots_are_known_by_their_names(tmp_path, name):
    """The names that bots are given, and no name that merely ends in these letters."""
    rows = [submission("s1"), comment("d", "s1", "x", 1)]
    _, dropped = read(tmp_path, *rows, comment("c", "s1", "a", 1, author=name))
    assert dropped == {"bot": 1}
    _, dropped = read(tmp_path, *rows, comment("c", "s1", "a", 1, author="talbot"))
    assert not dropped


def test_communities_can_be_sources(tmp_path):
    """For holding out and reporting by community."""
    rows = [submission("s1"), submission("s2", subreddit="../x"), comment("c1", "s1", "a", 1)]
    threads, _ = read(tmp_path, *rows, by_subreddit=True)
    assert {thread.id: thread.source for thread in threads} == {
        "t3_s1": "r/College",
        "t3_s2": "reddit",
    }


def test_permalinks_of_elsewhere_are_not_kept(tmp_path):
    """A link is Reddit's own path or made from the id."""
    for permalink in ("//evil.org/r/x", "https://evil.org", "/r/a b", None, 3):
        rows = [submission("s1", permalink=permalink), comment("c1", "s1", "a", 1)]
        assert read(tmp_path, *rows)[0][0].url == "https://www.reddit.com/comments/s1/"


def test_one_kind_of_dump_alone_is_an_error(tmp_path):
    """Comments without submissions, or the other way round, would give nothing without a word."""
    with pytest.raises(DataError, match=r"RS_2021-06\.zst: holds no comments.*RC"):
        read(tmp_path, submission("s1"))
    with pytest.raises(DataError, match="holds no submissions"):
        read(tmp_path, comment("c1", "s1", "a", 1))


def test_a_folder_is_its_monthly_files(tmp_path):
    """RS and RC files of a folder are read; others are not."""
    folder = tmp_path / "dumps"
    folder.mkdir()
    write_lines(folder / "RS_2021-06.zst", submission("s1"))
    write_lines(folder / "RC_2021-06.zst", comment("c1", "s1", "a", 1))
    (folder / "readme.txt").write_text("no dump")
    assert len(read(tmp_path, files=[folder])[0]) == 1
    with pytest.raises(DataError, match="holds no RS_"):
        read(tmp_path, files=[tmp_path])


def test_other_kinds_of_rows_and_broken_lines_are_counted(tmp_path):
    """Lines that are neither a submission nor a comment."""
    path = write_lines(tmp_path / "RC.zst", submission("s1"), comment("c1", "s1", "a", 1), {"x": 1})
    from worldpm.forum.lines import zstd

    path.write_bytes(path.read_bytes() + zstd.compress(b'{"id":\n[]\n' + b"x" * 1_100_000))
    _, dropped = read(tmp_path, files=[path])
    assert dropped == {
        "neither_submission_nor_comment": 1,
        "malformed_json": 1,
        "not_an_object": 1,
        "line_too_long": 1,
    }


WRONG = [None, True, 3, 2.5, "x", "", [], {}, [[[]]], {"a": {"b": 1}}, -(10**15), 1e300, "\u0000"]


def test_any_field_may_be_of_any_type(tmp_path):
    """234 rows with a wrong field: never an exception, every row a post or a drop."""
    rows = [submission("s1"), comment("c1", "s1", "a", 1)]
    for make in (submission("s9"), comment("c9", "s1", "b", 2)):
        for number, (key, value) in enumerate(itertools.product(make, WRONG)):
            rows.append(make | {"id": f"{make['id']}{number:x}"} | {key: value})
    rows += [make | {"over_18": v, "is_self": v, "url": v, "domain": v, "link_flair_text": v}
             for make in (submission("s8"),) for v in WRONG]  # fmt: skip
    assert len(rows) == 2 + 17 * len(WRONG) + len(WRONG)
    for depth in (1, 3):
        threads, dropped = read(tmp_path, *rows, depth=depth, nsfw=True, link_only=True)
        made = sum(len(t.answers) + (t.num_prompt_posts == 1) for t in threads)
        assert made + dropped.total() == len(rows)
        assert dropped["malformed_body"] > 0
        assert dropped["malformed_score"] > 0


def test_settings_are_checked():
    """Depth and shards have bounds; an unknown setting names the nearest."""
    for wrong in ("depth=0", "depth=11", "shard_bytes=0", "authors=hide"):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            load_settings(RedditSettings, None, [wrong])
    with pytest.raises(ConfigError, match="nsfw"):
        load_settings(RedditSettings, None, ["nswf=true"])
