"""`worldpm pairs` on the command line: benchmarks, plans, shares, and what it refuses."""

import orjson
import pytest
from dumps import answer, document, question, write_7z

LEAK = (
    "Rank the seven planets that I can see from my garden by how bright they are in late autumn "
    "and say which telescope suits each of them best"
)


@pytest.fixture
def threads(worldpm, tmp_path):
    rows = []
    for number in range(10, 60, 10):
        body = f"<p>{LEAK if number == 30 else f'Is it {number} degrees?'}</p>"
        rows += [question(number, Body=body)]
        rows += [answer(number + n, number, n) for n in (1, 2)]
    dump = write_7z(tmp_path / "sky.example.7z", Posts=document(*rows))
    assert worldpm("forum", "stackexchange", dump, "-o", tmp_path / "threads", "-q").code == 0
    return tmp_path / "threads"


@pytest.fixture
def benchmarks(tmp_path):
    """A folder of benchmarks that holds one, in its authors' layout."""
    folder = tmp_path / "evals" / "llmbar" / "Dataset" / "LLMBar" / "Natural"
    folder.mkdir(parents=True)
    row = {"input": LEAK, "output_1": "Venus first of all.", "output_2": "None.", "label": 1}
    (folder / "dataset.json").write_bytes(orjson.dumps([row]))
    for kind in ("GPTInst", "GPTOut", "Manual", "Neighbor"):
        other = tmp_path / "evals" / "llmbar" / "Dataset" / "LLMBar" / "Adversarial" / kind
        other.mkdir(parents=True)
        row = {"input": f"Say {kind}", "output_1": "a", "output_2": "b", "label": 2}
        (other / "dataset.json").write_bytes(orjson.dumps([row]))
    return tmp_path / "evals"


def test_a_benchmarks_text_is_left_out_and_named(worldpm, threads, benchmarks, tmp_path):
    """The thread that asks a benchmark's question is in the ledger; kept, in the report alone."""
    out = tmp_path / "data"
    manifest = worldpm("pairs", threads, "-o", out, "--against", benchmarks, "-q", "--json").json
    assert manifest["dropped"] == {"contaminated": 1}
    assert manifest["contamination"]["rows"] == {"llmbar": 5}
    (hit,) = map(orjson.loads, (out / "ledger" / "contamination.jsonl").read_bytes().splitlines())
    assert (hit["id"], hit["benchmark"], hit["of"], hit["where"]) == (
        "30", "llmbar", "prompt", "prompt"
    )  # fmt: skip
    (found,) = worldpm("show", out, "--why", "30", "--json").json["found"]
    assert found["reason"] == "contaminated"
    kept = tmp_path / "kept"
    sets = ("--set", "decontaminate.drop=false")
    manifest = worldpm(
        "pairs", threads, "-o", kept, "--against", benchmarks, "-q", "--json", *sets
    ).json
    assert manifest["dropped"] == {}
    assert (kept / "ledger" / "contamination.jsonl").read_bytes()


def test_a_folder_without_benchmarks_is_refused(worldpm, threads, tmp_path):
    """Before anything is read: a wrong folder would find nothing, and look like a clean set."""
    result = worldpm("pairs", threads, "-o", tmp_path / "data", "--against", threads, "-q")
    assert result.code == 1
    assert "holds none of the folders llmbar" in result.err
    assert not (tmp_path / "data").exists()


def test_a_dry_run_says_what_a_run_takes(worldpm, threads, tmp_path):
    """Time, disk, memory and shards, for people and as JSON; nothing is written."""
    said = worldpm("pairs", threads, "-o", tmp_path / "data", "--dry-run").out
    assert "5 threads, 1 shards" in said
    assert "of disk" in said
    plan = worldpm("pairs", threads, "-o", tmp_path / "data", "--dry-run", "--json").json["plan"]
    assert (plan["threads"], plan["shards"], plan["workers"]) == (5, 1, 1)
    assert not (tmp_path / "data").exists()


def test_a_share_says_that_it_is_to_be_gone_on_with(worldpm, threads, tmp_path):
    """Exit code 75, and the last call without --shard finishes."""
    out = tmp_path / "data"
    result = worldpm("pairs", threads, "-o", out, "-q", "--shard", "1/1")
    assert (result.code, out.exists()) == (75, False)
    assert worldpm("pairs", threads, "-o", out, "-q").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shard", "3/2"), "1/4"),
        (("--memory", "much"), "8GB"),
        (("--set", "dedup.drop=all"), "dedup.drop"),
        (("--set", "dedup.threshold=0.2"), "dedup.threshold"),
    ],
)
def test_what_cannot_be_meant_is_refused(worldpm, threads, tmp_path, flags, said):
    """A share, a size or a setting out of range is one sentence."""
    result = worldpm("pairs", threads, "-o", tmp_path / "data", "-q", *flags)
    assert result.code == 1
    assert said in result.err
