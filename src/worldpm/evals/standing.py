"""A protocol's figures with the published ones beside them, as plain values.

standing("worldpm", {"rm-bench": (comparisons, scores)}, [find("paper:WorldPM-72B-RLHFLow")])
-> {"format", "protocol", "figures": [...], "against": [{"name", "rows", "unmatched"}]}
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from worldpm.evals.protocols import Scored, protocol
from worldpm.evals.published import Published, beside

FORMAT = "worldpm-figures/1"


def standing(name: str, scored: Scored, against: Sequence[Published] = ()) -> dict[str, Any]:
    """Every figure of the protocol that the suites allow, and what others published of the same.

    Under "against", `rows` have ours and theirs in percent with the caveats between them, and
    `unmatched` each published figure that has none of ours beside it, with the reason.
    """
    figures = protocol(name).figures(scored)
    columns = []
    for each in against:
        found = beside(each, figures, protocol=name)
        columns.append(
            {
                "name": each.name,
                "rows": [
                    {
                        "figure": row.figure,
                        "group": row.group,
                        "suite": row.suite,
                        "ours_percent": figure.percent,
                        "published_percent": row.percent,
                        "caveats": list(found.caveats.get(row.figure, ())),
                        "source": row.source,
                        "url": row.url,
                    }
                    for row, figure in found.pairs
                ],
                "unmatched": [
                    {
                        "figure": row.figure,
                        "control": row.control,
                        "published_percent": row.percent,
                        "reason": reason,
                        "source": row.source,
                    }
                    for row, reason in found.unmatched
                ],
            }
        )
    return {
        "format": FORMAT,
        "protocol": name,
        "figures": [asdict(each) for each in figures],
        "against": columns,
    }
