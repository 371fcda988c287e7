"""Rows that are not what their authors publish: an error with its place, or rows all accounted for.

Every field of a sound row of every set is replaced by values of other kinds, and whole files are
cut and their bytes changed; no reader ends in anything but comparisons, counted drops, or one
DataError that names the file.
"""

import copy
import gzip
import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_sets import write

from worldpm.errors import DataError
from worldpm.pairs.published import PUBLISHED
from worldpm.records import Comparison
from worldpm.rows import comparison_from_row
from worldpm.schema import READERS, to_table


def talk(*contents):
    """Messages of user and assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


def node(name, role, *replies, rank=None):
    """A message of a tree."""
    fields = {"message_id": name, "role": role, "text": name, "rank": rank, "lang": "en"}
    return fields | {"deleted": False, "replies": list(replies)}


PAIR = {"chosen": talk("Q", "a"), "rejected": talk("Q", "b")}
SOUND = {
    "hh-rlhf": ("a.jsonl", {
        "chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: b",
    }),
    "helpsteer2": ("train.jsonl", {
        "prompt": "p", "response": "r", "helpfulness": 1, "correctness": 1, "coherence": 1,
        "complexity": 1, "verbosity": 1,
    }),
    "helpsteer2-preference": ("preference.jsonl", {
        "split": "train", "prompt": "p", "response_1": "a", "response_2": "b",
        "preference_strength": 2,
    }),
    "oasst": ("a.jsonl", {
        "message_tree_id": "m", "tree_state": "x",
        "prompt": node("m", "prompter", node("a", "assistant", rank=0),
                       node("b", "assistant", node("c", "prompter"), rank=1)),
    }),
    "oasst-zh": ("a.json", {"instruction": "i", "input": "", "output": ["a", "b"], "history": []}),
    "pairs": ("a.jsonl", {"id": "1", "source": "s", "subset": "t", "prompt": "p", "chosen": "a",
                          "rejected": "b", "margin": 1.0, "meta": {}}),
    "qa-feedback": ("a.json", {
        "question": "q", "passages": [["t", "s"]], "preference": [1, 0, 0, 0, 0, 2],
        **{f"prediction {n}": str(n) for n in range(1, 5)},
    }),
    "rlhflow": ("a.jsonl", {**PAIR, "chosen_score": 2.0, "rejected_score": 1.0}),
    "shp": ("a.jsonl", {
        "post_id": "p", "domain": "d_train", "history": "h", "c_root_id_A": "a",
        "c_root_id_B": "b", "created_at_utc_A": 2, "created_at_utc_B": 1, "score_A": 9,
        "score_B": 2, "human_ref_A": "x", "human_ref_B": "y", "labels": 1,
    }),
    "skywork": ("a.jsonl", {**PAIR, "source": "s"}),
    "tldr": ("a.jsonl", {"id": "1", "prompt": "p", "response_a": "a", "response_b": "b",
                         "label": "A"}),
    "ultrafeedback": ("a.jsonl", {
        "source": "flan", "instruction": "i",
        "completions": [
            {"model": "m", "principle": "p", "response": str(n), "overall_score": float(n),
             "fine-grained_score": 2.0, "annotations": {"honesty": {"Rating": "3"}}}
            for n in range(3)
        ],
    }),
}  # fmt: skip
HOSTILE = (
    None, True, 0, -1, 7, 2**60, 1.5, "", "x", "\x00", "A", [], [None], [[]], ["x"], [{}], [7],
    {}, {"x": 1}, {"role": "user"}, [{"role": "user", "content": None}], [[1, 2]], "9" * 5000,
)  # fmt: skip


def places(value, path=()):
    """Every place within a row, whole containers and single values."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def replaced(row, path, value):
    """The row with another value in one place."""
    made = copy.deepcopy(row)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def outcome(name, path):
    """(comparisons that can be written, rows dropped), or the text of the DataError."""
    dropped = Counter()
    try:
        found = list(PUBLISHED[name](path, lambda reason: dropped.update([reason])))
    except DataError as error:
        return str(error)
    for comparison in found:
        assert len(comparison.replies) >= 2
        assert comparison.better
    rows = to_table(Comparison, found).to_pylist()
    assert [READERS[Comparison](row) for row in rows] == found
    return len(found), dropped.total()


def test_every_set_has_a_sound_row(tmp_path):
    """The rows that are changed below are themselves read, but for the one that needs a pair."""
    assert {*SOUND, "ukpconvarg"} == set(PUBLISHED)
    for name, (file, row) in SOUND.items():
        write(tmp_path / name / file, [row])
        made = outcome(name, tmp_path / name / file)
        assert made in ((1, 0), (0, 1), (1, 1)), (name, made)


@pytest.mark.parametrize("name", SOUND)
def test_a_field_of_another_kind(tmp_path, name):
    """One place of a row changed: read, dropped and counted, or named with its file and row."""
    file, sound = SOUND[name]
    path = tmp_path / file
    tried = Counter()
    for place in places(sound):
        for value in HOSTILE:
            write(path, [replaced(sound, place, value)])
            made = outcome(name, path)
            if isinstance(made, str):
                assert made.startswith(str(path)), (place, value, made)
                assert "\n" not in made
                assert "Error" not in made
            else:
                assert sum(made) >= 1, (place, value)
            tried[type(made)] += 1
    assert tried[str] > 20
    assert name == "hh-rlhf" or tried[tuple] > 5  # whose two texts must both be dialogues


@pytest.mark.parametrize("row", [None, 3, "x", [], [1], {}])
@pytest.mark.parametrize("name", SOUND)
def test_rows_that_are_none(tmp_path, name, row):
    """A row that is no object, or an empty one, is named."""
    path = tmp_path / SOUND[name][0]
    write(path, [row])
    made = outcome(name, path)
    assert isinstance(made, str)
    assert made.startswith(str(path))


@pytest.mark.parametrize("name", SOUND)
def test_cut_and_changed_files(tmp_path, name):
    """A file cut anywhere, or with a byte changed, is an error with its name or whole rows."""
    file, sound = SOUND[name]
    path = tmp_path / file
    write(path, [sound] * 4)
    whole, draw = path.read_bytes(), random.Random(name)
    for _ in range(25):
        data = bytearray(whole)
        if draw.random() < 0.5:
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        made = outcome(name, path)
        assert not isinstance(made, str) or made.startswith(str(path))


@pytest.mark.parametrize("form", ["parquet", "jsonl.gz"])
def test_packed_files_cut_and_changed(tmp_path, form):
    """Parquet and gzip, cut or with bytes changed: an error with the file, never a crash."""
    path = tmp_path / f"a.{form}"
    rows = [SOUND["rlhflow"][1] | {"chosen": talk("Q", f"a{n}")} for n in range(50)]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    whole, draw, failed = path.read_bytes(), random.Random(form), 0
    for _ in range(60):
        data = bytearray(whole)
        if draw.random() < 0.5:
            del data[draw.randrange(len(data)) :]
        else:
            for _ in range(3):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        made = outcome("rlhflow", path)
        failed += isinstance(made, str)
        assert not isinstance(made, str) or made.startswith(str(path))
    assert failed > 20


def test_parquet_of_odd_values(tmp_path):
    """Numbers that JSON cannot hold are refused, as are nulls where a text belongs."""
    for change, message in (
        ({"score_A": float("nan")}, "score_A must be a number, not nan"),
        ({"score_B": float("-inf")}, "score_B must be a number, not -inf"),
        ({"human_ref_A": None}, "human_ref_A must be text"),
    ):
        path = tmp_path / "a.parquet"
        sound = SOUND["shp"][1] | {"score_A": 9.0, "score_B": 2.0}
        pq.write_table(pa.Table.from_pylist([sound | change]), path)
        assert message in outcome("shp", path)


def nested(levels):
    """A mapping in mappings."""
    value = {"a": 1}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"price": Decimal("1.10")}, "Type is not JSON serializable: decimal.Decimal"),
        ({"raw": b"\xff"}, "Type is not JSON serializable: bytes"),
        ({"text": "\ud800"}, "surrogate"),
        (nested(253), "Recursion limit reached"),
        ({"big": 2**70}, "Integer exceeds 64-bit range"),
    ],
)
def test_what_json_cannot_hold_beside_the_texts(meta, reason):
    """A `meta` that could not be written is an error with its place, whichever border it passes."""
    with pytest.raises(DataError, match=f"a:1: meta: cannot be written as JSON: .*{reason}"):
        comparison_from_row(SOUND["pairs"][1] | {"meta": meta}, where="a:1", default_id="1")
    sound = comparison_from_row(SOUND["pairs"][1], where="a:1", default_id="1")
    made = replace(sound, meta=meta | {"more": nested(260)})
    with pytest.raises(DataError, match=r"^s 1: meta cannot be written as JSON: "):
        to_table(Comparison, [made])


def test_parquet_of_a_meta_that_json_cannot_hold(tmp_path):
    """Decimals in a struct of Parquet are named with their row."""
    rows = [SOUND["pairs"][1] | {"meta": {"price": Decimal(n)}} for n in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert outcome("pairs", tmp_path / "a.parquet").startswith(
        f"{tmp_path / 'a.parquet'}:1: meta: "
    )


@pytest.mark.parametrize("margin", [float("nan"), float("inf")])
def test_parquet_of_margins_that_are_none(tmp_path, margin):
    """An edge's margin is a number, whichever form the edge has."""
    edge = {"winner": 0, "loser": 1, "margin": margin}
    for row, message in (
        (
            {"prompt": "p", "replies": ["a", "b"], "better": [edge]},
            f"a.parquet:1: better[0]: margin must be a number, not {margin}",
        ),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "margin": margin},
            "a.parquet:1: margin: input should be a finite number",
        ),
    ):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
        assert message in outcome("pairs", tmp_path / "a.parquet")
