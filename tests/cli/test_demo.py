"""The demo's prompts are what they say they are, and the script stays one to read at a sight."""

from collections import Counter
from pathlib import Path

from worldpm.rows import read_comparisons

EXAMPLES = Path(__file__).parents[2] / "examples"


def is_chinese(text):
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def test_a_varied_dozen():
    """Twelve prompts, a third in Chinese, with 3 to 5 different replies and names for pictures."""
    rows = list(read_comparisons(EXAMPLES / "demo.jsonl"))
    assert len(rows) == len({row.id for row in rows}) == 12
    assert sum(is_chinese(row.prompt[0].content) for row in rows) == 4
    for row in rows:
        texts = [reply[0].content for reply in row.replies]
        assert 3 <= len(texts) == len(set(texts)) <= 5
        assert row.meta["label"].isascii()
        assert len(row.meta["reply_labels"]) == len(texts)
        assert len({is_chinese(text) for text in texts if not text.isdigit()}) == 1


def test_no_rule_of_thumb_wins():
    """The best reply beats all others, and often is not the longest, the shortest or the first."""
    rows = list(read_comparisons(EXAMPLES / "demo.jsonl"))
    places = Counter()
    for row in rows:
        lengths = [len(reply[0].content) for reply in row.replies]
        (best,) = {edge.winner for edge in row.better}
        assert {edge.loser for edge in row.better} == set(range(len(lengths))) - {best}
        places["longest"] += lengths[best] == max(lengths)
        places["shortest"] += lengths[best] == min(lengths)
        places[best] += 1
    assert all(count <= 8 for count in places.values())


def test_examples_are_short():
    """An example is at most forty lines."""
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40
