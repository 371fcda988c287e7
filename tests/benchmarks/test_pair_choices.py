"""What each choice of pairs does to threads, on a handful whose answer is worked by hand."""

import pytest

from worldpm.records import Post, Thread


@pytest.fixture
def script():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "benchmarks" / "pair_choices.py"
    spec = importlib.util.spec_from_file_location("pair_choices", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def thread(number, *answers):
    """Answers as (votes, characters), one an hour."""
    posts = [Post("q", None, None, "2020-01-01T00:00", "?", 0)]
    for n, (votes, size) in enumerate(answers):
        posts.append(Post(f"a{n}", "q", None, f"2020-01-01T0{n + 1}:00", "x" * size, votes))
    return Thread(str(number), "s", "", (), tuple(posts), None, None)


def test_edges_and_biases_by_hand(script):
    """Four edges by the paper's rule: three earlier winners, one longer one of three."""
    threads = [thread(1, (9, 50), (4, 80), (4, 20)), thread(2, (0, 9), (2, 5)), thread(3, (5, 30))]
    threads.append(thread(4, (20, 10), (1, 10)))
    rows, exposure = script.run(threads)
    by_name = {row["choice"]: row for row in rows}
    assert list(by_name) == list(script.CHOICES)
    paper = by_name["the paper's rule"]
    assert (paper["threads"], paper["edges"], paper["kept"]) == (3, 4, 4)
    assert paper["earlier"][0] == pytest.approx(3 / 4)
    assert paper["longer"][0] == pytest.approx(1 / 3)  # 50 > 20; 50 < 80; 5 < 9; 10 = 10
    assert by_name["pairs_per_thread=1"]["kept"] == 3
    assert by_name["margin 3-5"]["kept"] == 2
    assert by_name["margin 11-"]["kept"] == 1
    assert by_name["no_older"]["kept"] == 1
    assert by_name["no_older"]["earlier"][0] == 0
    for row in rows:
        assert row["kept"] + row["turned"] + row["new"] == row["edges"]
    assert exposure["threads"] == 3
