"""Suites of pairs made to fool a judge: LLMBar, EvalBiasBench, OffsetBias.

    llmbar(Path("llmbar")) -> Comparison, Comparison, ...     all of class adversarial

The better reply obeys, is right or is on the topic; the worse one looks better.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from worldpm.errors import DataError
from worldpm.evals.rows import (
    EvalBiasRow,
    LLMBarRow,
    OffsetBiasRow,
    check_rows,
    find_tables,
    load_json,
    read_rows,
    read_table,
)
from worldpm.evals.shaping import pair, user
from worldpm.records import Comparison


def llmbar(folder: Path) -> Iterator[Comparison]:
    """LLMBar (Zeng et al. 2024): 419 pairs, `Dataset/LLMBar/{Natural,Adversarial/*}`.

    Subsets `natural`, `adversarial-manual`, ... All of class adversarial (WorldPM 3.2). The
    authors' order of the two outputs is kept: it is theirs, and balanced.
    """
    root = folder / "Dataset" / "LLMBar"
    parts = ["Natural", *(f"Adversarial/{n}" for n in ("GPTInst", "GPTOut", "Manual", "Neighbor"))]
    for part in parts:
        subset = part.lower().replace("/", "-")
        for index, (_, row) in enumerate(read_rows(root / part / "dataset.json", LLMBarRow)):
            yield pair(
                f"llmbar/{subset}/{index}",
                "llmbar",
                subset,
                user(row.input),
                (row.output_1, row.output_2),
                1 if row.label == 2 else 0,
                {"class": "adversarial"},
                swap=False,
            )


def evalbiasbench(folder: Path) -> Iterator[Comparison]:
    """EvalBiasBench (Park et al. 2024): 80 pairs over six biases of judges.

    The paper does not use it; it is the small test set of the authors of OffsetBias, which the
    paper classes as adversarial, so that is its class here.
    """
    path = folder / "data" / "evalbiasbench" / "biasbench.json"
    groups = load_json(path)
    if not isinstance(groups, dict):
        raise DataError(f"{path}: holds a {type(groups).__name__}, not an object of biases")
    for bias, rows in groups.items():
        subset = re.sub(r"[ _]+", "-", bias.strip().lower())
        checked = check_rows(rows, EvalBiasRow, f"{path}[{bias!r}]")
        for index, (_, row) in enumerate(checked):
            yield pair(
                f"evalbiasbench/{subset}/{index}",
                "evalbiasbench",
                subset,
                user(row.instruction),
                (row.response1, row.response2),
                0 if row.label == 1 else 1,
                {"class": "adversarial"},
                swap=True,
            )


def offsetbias(folder: Path) -> Iterator[Comparison]:
    """OffsetBias (Park et al. 2024): 8,504 pairs, a training set that WorldPM tests on (3.2).

    Rows of `instruction`, `output_1`, `output_2` and `label`, the number of the better output, in
    one JSON list, JSON lines or Parquet. Which of its rows the paper took is not stated: its
    accuracies rule out the 80 of EvalBiasBench (section 3.4), so all are read.
    """
    tables = find_tables(folder, "OffsetBias's rows", lambda name: "evalbiasbench" not in name)
    for path in tables:
        for number, (_, row) in enumerate(read_table(path, OffsetBiasRow)):
            name = f"{path.name.split('.')[0]}/{number}" if len(tables) > 1 else str(number)
            yield pair(
                f"offsetbias/{name}",
                "offsetbias",
                "offsetbias",
                user(row.instruction),
                (row.output_1, row.output_2),
                0 if row.label == 1 else 1,
                {"class": "adversarial"},
                swap=True,
            )
