"""The command line as a function, and small artefacts to run it on."""

import io
import sys
from dataclasses import dataclass

import orjson
import pytest
from dumps import SITE, write_7z
from tiny import small_model

from worldpm.cli.app import main


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """stdout as the one object that it must be."""
        assert self.out.count("\n") == 1
        return orjson.loads(self.out)

    @property
    def rows(self):
        return [orjson.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def worldpm(monkeypatch, capsys):
    """Run `worldpm ARGS` in this process; a bug's exception comes through."""

    def run(*args, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["worldpm", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny checkpoint with a head."""
    return small_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A tiny base without a head."""
    return small_model(tmp_path_factory.mktemp("base") / "base", head=False)


@pytest.fixture
def dump(tmp_path):
    """Two questions, one of them with answers that differ in score."""
    site = SITE.replace(b'Score="4"', b'Score="9"')
    return write_7z(tmp_path / "small.example.7z", Posts=site)


@pytest.fixture
def threads(worldpm, dump, tmp_path):
    """A folder of all threads, made by the verb."""
    out = tmp_path / "threads"
    flags = ("-q", "--set", "min_answers=0")
    assert worldpm("forum", "stackexchange", dump, "-o", out, *flags).code == 0
    return out


@pytest.fixture
def pair_rows(tmp_path):
    """Forty pairs of the community's form, two of them ties in disguise."""
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"id": f"p{i}", "prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"}
        for i in range(38)
    ]
    rows += [{"id": f"t{i}", "prompt": "?", "chosen": "same", "rejected": "same"} for i in range(2)]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


@pytest.fixture
def data(worldpm, pair_rows, tmp_path):
    """A folder of comparisons with the parts train, validation and test."""
    out = tmp_path / "data"
    sets = ("--set", "validation=0.2", "--set", "test=0.2", "--set", "shuffle=false")
    assert worldpm("import", "pairs", pair_rows, "-o", out, "-q", *sets).code == 0
    return out


@pytest.fixture
def listing(tmp_path):
    """Everything below the test's folder, with sizes and times."""

    def look():
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in tmp_path.rglob("*")
        }

    return look


@pytest.fixture
def evaluation_json():
    """An evaluation as `eval` writes it."""
    from worldpm.evals.baselines import longer_characters
    from worldpm.evals.run import evaluate, to_json
    from worldpm.rows import comparison_from_row

    rows = [{"prompt": "?", "chosen": "c" * (i % 3), "rejected": "r"} for i in range(9)]
    comparisons = [
        comparison_from_row(row, where="x", default_id=str(i)) for i, row in enumerate(rows)
    ]
    return to_json(evaluate(comparisons, longer_characters, suite="llmbar", resamples=50))


@pytest.fixture(autouse=True)
def _own_scores(monkeypatch, tmp_path):
    """Scores that `eval` keeps go below the test's folder, not into the user's cache."""
    from worldpm.cli import evaluating

    monkeypatch.setattr(evaluating, "score_folder", lambda: tmp_path / ".scores")
