"""What `Scorer` hands to people: a ranking of replies, and a score at every token.

Both show themselves as tables in a notebook.
"""

from dataclasses import dataclass
from html import escape

from worldpm.records import Comparison, Score
from worldpm.report.ranking import best_probabilities, preview, ranked, score_digits, shorten


@dataclass(frozen=True, slots=True)
class Ranking:
    """Replies to one prompt with their scores, in the given order; `order` has the best first."""

    comparison: Comparison
    scores: tuple[Score, ...]

    @property
    def order(self) -> list[int]:
        """Indices of the replies, best first; equal scores keep their order."""
        return ranked([score.value for score in self.scores])

    @property
    def p_best(self) -> list[float]:
        """For each reply the probability that it is the best of these."""
        return best_probabilities([score.value for score in self.scores])

    def _repr_html_(self) -> str:
        digits = score_digits([score.value for score in self.scores])
        chances = self.p_best
        texts = [shorten(preview(reply), 100) for reply in self.comparison.replies]
        rows = [
            f"<tr><td>{self.scores[i].value:+.{digits}f}</td><td>{chances[i]:.1%}</td>"
            f"<td>{self.scores[i].num_tokens:,}</td>"
            f"<td style='text-align:left'>{escape(texts[i])}</td></tr>"
            for i in self.order
        ]
        head = "<tr><th>score</th><th>P(best)</th><th>tokens</th><th>reply</th></tr>"
        return f"<table>{head}{''.join(rows)}</table>"


@dataclass(frozen=True, slots=True)
class Trace:
    """The score at every token of one whole conversation; the last one is its score."""

    pieces: tuple[str, ...]  # the text of each token; bytes that are no character show as U+FFFD
    values: tuple[float, ...]
    ids: tuple[int, ...]  # of the tokens: parts of a character all look the same as text
    cut_tokens: int = 0

    @property
    def score(self) -> Score:
        """The score of the whole, at the last token."""
        return Score(self.values[-1], len(self.values), self.cut_tokens)

    def parts_from(self, other: "Trace") -> int:
        """How many tokens the two conversations share from their beginning."""
        shared = 0
        for own, theirs in zip(self.ids, other.ids, strict=False):
            if own != theirs:
                break
            shared += 1
        return shared

    def _repr_html_(self) -> str:
        low, high = min(self.values), max(self.values)
        spans = []
        for piece, value in zip(self.pieces, self.values, strict=True):
            share = (value - low) / (high - low) if high > low else 0.5
            colour = f"rgba({'0,114,178' if share > 0.5 else '213,94,0'},{abs(share - 0.5):.2f})"
            title = f"{value:+.4f}"
            spans.append(
                f"<span title='{title}' style='background:{colour}'>{escape(piece)}</span>"
            )
        return f"<div style='white-space:pre-wrap;font-family:monospace'>{''.join(spans)}</div>"
