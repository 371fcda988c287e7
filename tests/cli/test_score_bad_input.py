"""score: what people's files hold. An exact error with its line, and what was scored is kept."""

import orjson
import pytest

GOOD = [{"id": i, "prompt": f"p{i}", "replies": ["yes", "r" * (i % 5)]} for i in range(600)]


def lines(rows):
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def test_an_empty_reply_is_scored(worldpm, model):
    """Nothing said is a reply as any other: the end of its turn is scored."""
    row = {"prompt": "Why?", "replies": ["", " ", "Because."]}
    (found,) = worldpm("score", "--model", model, "-q", stdin=orjson.dumps(row)).rows
    assert len(set(found["scores"])) == 3
    assert found["num_tokens"][0] == found["num_tokens"][1] - 1


def test_two_hundred_thousand_tokens(worldpm, model, tmp_path):
    """Refused by line with both lengths; with --truncate the oldest go, and are counted."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(lines([GOOD[0], {"id": "long", "prompt": "p", "replies": ["y" * 200_000]}]))
    refused = worldpm("score", path, "--model", model)
    assert (refused.code, refused.out) == (1, "")
    assert f"{path}:2: reply 0 makes a conversation of 200,0" in refused.err
    assert "takes 512" in refused.err
    first, cut = worldpm("score", path, "--model", model, "--truncate", "-q").rows
    assert "cut_tokens" not in first
    assert cut["num_tokens"] == [512]
    assert cut["cut_tokens"][0] > 199_000


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"messages": [{"role": "bot", "content": "?"}]}', "messages[0].role"),
        (b'{"prompt": "?", "replies": ["\\ud800"]}', "surrogate"),
        (b'{"prompt": "?", "replies": []}', "needs at least one reply"),
        (b'{"id": 3, "prompt": "?", "repl', "not valid JSON"),
        (b'{"prompt": "\xff", "replies": ["a"]}', "JSON"),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_the_place_is_exact(worldpm, model, tmp_path, bad, message, piped):
    """An unknown role, a lone surrogate, no reply, a line cut in the middle, bytes that are no
    text: file or stdin, the line, and what is wrong."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(GOOD[:2]) + bad)
    source = ("-",) if piped else (path,)
    done = worldpm("score", *source, "--model", model, stdin=path.read_bytes() if piped else b"")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {'stdin' if piped else path}:3: ")
    assert message in done.err


def test_a_pipe_cut_in_the_middle_of_a_line_loses_nothing(worldpm, model, tmp_path):
    """What was scored before the broken line stays, and --resume with the whole input adds the
    rest: every row once, in order, as in one go."""
    out, whole = tmp_path / "out.jsonl", lines(GOOD)
    command = ("score", "-", "--model", model, "-o", out, "-q")
    cut = worldpm(*command, stdin=whole[: whole.index(b'"id":570') + 12])
    assert cut.code == 1
    assert "stdin:571: " in cut.err
    assert "--resume" in cut.err or (tmp_path / ".out.jsonl.unfinished").is_file()
    kept = (tmp_path / ".out.jsonl.unfinished").read_bytes().splitlines()
    assert len(kept) == 512  # all chunks before that of the broken line
    assert worldpm(*command, "--resume", stdin=whole).code == 0
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert [row["id"] for row in rows] == list(range(600))
    assert out.read_bytes().splitlines()[: len(kept)] == kept
    one_go = worldpm("score", "-", "--model", model, "-q", stdin=whole).rows
    for row, other in zip(rows, one_go, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)
