"""Candidates stand by their best look at the same validation comparisons, lowest loss first."""

import orjson
import pytest

from worldpm.errors import DataError


def run(folder, losses, *, pairs=20.0, data="d"):
    folder.mkdir()
    (folder / "run.json").write_bytes(orjson.dumps({"data": [data]}))
    rows = [{"kind": "note", "note": "x"}]
    rows += [
        {"kind": "validation", "step": step, "pairs": 10.0 * step, "validation_loss_nats": loss,
         "validation_accuracy": 1 - loss, "validation_pairs": pairs,
         "validation_by_source": {"s": {"loss_nats": loss, "accuracy": 0.5}}}
        for step, loss in enumerate(losses)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    return folder


def test_the_lowest_look_of_each_counts(tmp_path, capsys):
    """Not the last one, and the best run comes first."""
    from candidates import main

    a = run(tmp_path / "a", [0.69, 0.60, 0.66])
    b = run(tmp_path / "b", [0.69, 0.58])
    main([str(a), str(b), "--json"])
    found = orjson.loads(capsys.readouterr().out)
    assert [(row["run"], row["step"], row["looks"]) for row in found] == [("b", 1, 2), ("a", 1, 3)]
    main([str(a), str(b)])
    text = capsys.readouterr().out
    assert text.index("0.5800") < text.index("0.6000")


@pytest.mark.parametrize("other", [{"pairs": 21.0}, {"data": "e"}])
def test_other_comparisons_are_no_comparison(tmp_path, other):
    """Runs of other data, or of other limits, are refused."""
    from candidates import compare

    runs = [run(tmp_path / "a", [0.6]), run(tmp_path / "b", [0.6], **other)]
    with pytest.raises(DataError, match="validates on other comparisons"):
        compare(runs)
    with pytest.raises(DataError, match="has not looked"):
        compare([run(tmp_path / "c", [])])
