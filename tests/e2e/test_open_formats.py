"""What we write is opened as it is by DuckDB and `datasets`, with no code of ours."""

import pytest

from worldpm.records import Comparison
from worldpm.rows import read_comparisons
from worldpm.store import ArtifactWriter

EDGE = {"winner": 1, "loser": 0}
ROWS = [
    {"id": "1", "source": "tea", "prompt": "Why?", "replies": ["a", "bb"], "better": [[1, 0]],
     "meta": {"url": "https://tea/1", "posts": [{"votes": 1}, {"votes": 5}]}},
    {"id": "2", "source": "tea", "prompt": "What?", "replies": ["a", "bb", "c"],
     "better": [[1, 0], [1, 2]], "meta": {"url": None, "models": ["x"]}},
    {"id": "1", "source": "set", "subset": "easy", "prompt": "?", "replies": ["a", "b"],
     "better": [{**EDGE, "margin": 2.5}]},
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """An artefact of two parts whose rows know different things."""
    import orjson

    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    with ArtifactWriter(tmp_path / "data", Comparison, kind="comparisons", settings={}) as out:
        for part, comparison in zip(
            ("train", "train", "test"), read_comparisons(rows), strict=True
        ):
            out.add(part, comparison)
    return tmp_path / "data"


def test_duckdb_reads_the_parquet_as_it_is(data):
    """Nested columns, a glob over the parts, and JSON inside `meta`, in plain SQL."""
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        f"""
        select source, count(*), sum(len(replies)), sum(len(better)), max(better[1].margin),
               max(replies[2][1].content)
        from '{data}/*.parquet' group by source order by source
        """
    ).fetchall()
    assert found == [("set", 1, 2, 1, 2.5, "b"), ("tea", 2, 5, 3, None, "bb")]
    ((url,),) = duckdb.sql(
        f"select json_extract_string(meta, '$.url') from '{data}/train.parquet' where id = '1'"
    ).fetchall()
    assert url == "https://tea/1"


@pytest.fixture
def load_dataset(monkeypatch, tmp_path):
    """`datasets.load_dataset` without a network, its cache in the test's folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def load(*arguments, **options):
        return datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)

    return load


def test_datasets_reads_the_parquet_as_it_is(data, load_dataset):
    """Each part is a split, messages are messages."""
    files = {part: str(data / f"{part}*.parquet") for part in ("train", "test")}
    found = load_dataset("parquet", data_files=files)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 2, "test": 1}
    row = found["train"][1]
    assert row["replies"][1] == [{"role": "assistant", "content": "bb"}]
    assert [(edge["winner"], edge["loser"]) for edge in row["better"]] == [(1, 0), (1, 2)]


@pytest.mark.parametrize("form", ["trl", "jsonl"])
def test_datasets_reads_an_export_by_its_card(data, load_dataset, tmp_path, monkeypatch, form):
    """The folder that export writes is a data set: the card's header names its splits and files."""
    import sys

    from worldpm.cli.app import main

    out = tmp_path / form
    command = ["worldpm", "export", str(data), "-o", str(out), "--format", form]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    found = load_dataset(str(out))
    assert set(found) == {"train", "test"}
    assert len(found["test"]) == 1
    if form == "trl":
        assert found["train"][0]["chosen"] == [{"role": "assistant", "content": "bb"}]
        assert found["test"][0]["difference"] == 2.5
    else:
        assert found["train"][1]["replies"][1] == [{"role": "assistant", "content": "bb"}]
        assert found["test"][0]["subset"] == "easy"
        assert found["train"][0]["meta"] == ROWS[0]["meta"]
