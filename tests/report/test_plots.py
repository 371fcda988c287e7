"""Pictures are written whole, with their numbers beside them, and their words do not collide."""

import builtins
import csv
import json
import math

import pytest

from worldpm.errors import DataError, WorldPMError
from worldpm.evals.baselines import longer_characters
from worldpm.evals.run import evaluate, to_json
from worldpm.records import Comparison, Edge, Message, Score
from worldpm.report import figures, plots, ranking_plot, training_plot
from worldpm.report.plots import plot_evaluation
from worldpm.report.ranking_plot import plot_ranking
from worldpm.report.training_plot import plot_training, smooth

pytest.importorskip("matplotlib")


def prompt(number: int, question: str, *texts: str, **meta) -> Comparison:
    replies = tuple((Message("assistant", text),) for text in texts)
    edges = (Edge(0, 1),) if len(texts) > 1 else ()
    return Comparison(f"p{number}", "t", None, (Message("user", question),), replies, edges, meta)


RANKING = [
    prompt(0, "Tips for better sleep?", "Keep regular hours.", "No.", "Sleep is natural."),
    prompt(
        1,
        "如何改善睡眠？",
        "规律作息",
        "多喝咖啡",
        label="sleep (Chinese)",
        reply_labels=["hours", "coffee"],
    ),
    prompt(
        2,
        "What is $4 + $5?",
        "$9",
        "A very long and winding reply " * 9,
        "eight dollars",
        "seven dollars",
        "six dollars",
    ),
]
SCORES = [[2.0, 0.0, 0.5], [0.0, 1.0], [3.0, -3.0, 0.1, 0.0, 0.05]]


def drawn_words(figure) -> list[str]:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [text.get_text() for text in texts if text.get_text()]


@pytest.fixture
def kept(monkeypatch):
    """The figures that are saved, to look at after."""
    found = []

    def save(figure, *rest):
        found.append(figure)
        return figures.save(figure, *rest)

    for module in (plots, ranking_plot, training_plot):
        monkeypatch.setattr(module, "save", save)
    return found


def table(files) -> list[dict[str, str]]:
    return list(csv.DictReader(files[2].read_text(encoding="utf-8").splitlines()))


def tokens(rows):
    return [[Score(value, 5) for value in row] for row in rows]


@pytest.mark.filterwarnings("error")
def test_a_ranking_is_written_thrice_with_its_numbers(tmp_path, kept):
    """SVG, PNG and CSV; the CSV holds each score, its distance to the mean and P(best)."""
    files = plot_ranking(RANKING, tokens(SCORES), tmp_path / "ranking.png")
    assert [file.name for file in files] == ["ranking.svg", "ranking.png", "ranking.csv"]
    assert files[0].read_bytes().startswith(b"<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")
    rows = table(files)
    assert len(rows) == 10
    first = [row for row in rows if row["id"] == "p1"]
    assert [float(row["score_less_mean"]) for row in first] == [0.5, -0.5]
    assert float(first[0]["p_best"]) == pytest.approx(1 / (1 + math.exp(-1)))
    assert [row["reply"] for row in first] == ["1", "0"]
    assert first[0]["text"] == "多喝咖啡"
    assert "The reply known to be best scores highest on 2 of 3 prompts" in drawn_words(kept[0])


def test_words_lie_inside_the_picture_and_apart(tmp_path, kept):
    """No text crosses the edge of the figure, and no two texts overlap."""
    plot_ranking(RANKING, tokens(SCORES), tmp_path / "r")
    renderer = kept[0].canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for text in kept[0].findobj(lambda artist: hasattr(artist, "get_text"))
        if text.get_text() and text.get_visible() and text.axes in (None, kept[0].axes[0])
    ]
    frame = kept[0].bbox
    for number, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[:number])


def test_without_a_chinese_font_the_english_labels_stand_in(tmp_path, kept, monkeypatch):
    """No character that the fonts lack is drawn; the CSV keeps the real text."""
    latin = frozenset(range(0x2100)) | {ord("…")}
    monkeypatch.setattr(figures, "_glyphs", lambda: latin)
    plot_ranking(RANKING, tokens(SCORES), tmp_path / "r")
    words = drawn_words(kept[0])
    assert "sleep (Chinese)" in words
    assert any(word.startswith("coffee") for word in words)
    assert all(ord(c) in latin | {0x2212, 10} for word in words for c in word)


def test_an_emoji_without_a_glyph_is_dropped_but_the_words_stay():
    """Losing a smile is not losing the script."""
    assert ranking_plot._label("warm spot \U0010ffff", "reply 1", 34) == "warm spot"
    assert ranking_plot._label("\U0010ffff" * 9, "reply 1", 34) == "reply 1"


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [1e-9, 0.0, 0.0], [4000.0, -4000.0, 0.0]])
def test_extreme_scores_still_make_a_picture(values, tmp_path, kept):
    """All equal, hardly different, thousands apart: every dot inside the axes."""
    plot_ranking(RANKING[:1], tokens([values]), tmp_path / "r")
    axes = kept[0].axes[0]
    low, high = axes.get_xlim()
    mean = sum(values) / 3
    assert all(low < value - mean < high for value in values)


def test_the_same_ranking_gives_the_same_bytes(tmp_path):
    """Pictures can be compared and cached."""
    one = plot_ranking(RANKING, tokens(SCORES), tmp_path / "a")
    two = plot_ranking(RANKING, tokens(SCORES), tmp_path / "b")
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_a_ranking_needs_fitting_scores(tmp_path):
    """No comparison, too few lists, too few scores, scores that are not finite: errors."""
    for comparisons, scores in (([], []), (RANKING, SCORES[:2]), (RANKING, [[1.0]] * 3)):
        with pytest.raises(WorldPMError, match="one"):
            plot_ranking(comparisons, tokens(scores), tmp_path / "r")
    with pytest.raises(WorldPMError, match="finite"):
        plot_ranking(RANKING[1:2], tokens([[math.nan, 1.0]]), tmp_path / "r")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    """A light install meets a sentence, not a traceback."""
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(WorldPMError, match=r'pip install "worldpm\[plots\]"'):
        plot_ranking(RANKING, tokens(SCORES), tmp_path / "r")


def suite(name: str, right: int, wrong: int) -> dict:
    """A suite whose longer reply wins `right` of its rows, under the model minus-length."""
    data = [
        Comparison(f"{i}", name, f"s{i % 2}", (), ((Message("assistant", "aa"),), ()),
                   (Edge(0, 1) if i < right else Edge(1, 0),))
        for i in range(right + wrong)
    ]  # fmt: skip

    def shorter(comparisons):
        return [[-x for x in row] for row in longer_characters(comparisons)]

    return to_json(evaluate(data, shorter, suite=name, resamples=100))


def test_an_evaluation_titles_what_the_intervals_say(tmp_path, kept):
    """One suite surely better than length, one surely worse, one undecided; rows as asked for."""
    suites = [suite("a", 5, 45), suite("b", 45, 5), suite("c", 10, 10)]
    files = plot_evaluation(suites, tmp_path / "evaluation", kinds=("subset",))
    words = drawn_words(kept[0])
    assert any(
        "better than picking the longer reply on 1 of 3 suites, surely worse on 1" in w
        for w in words
    )
    rows = table(files)
    assert [row["name"] for row in rows] == ["a", "s0", "s1", "b", "s0", "s1", "c", "s0", "s1"]
    assert float(rows[0]["accuracy"]) == pytest.approx(0.9)
    assert float(rows[0]["longer_accuracy"]) == pytest.approx(0.1)
    assert float(rows[0]["over_length_low"]) > 0
    with pytest.raises(WorldPMError, match="no evaluation"):
        plot_evaluation([], tmp_path / "none")


def write_metrics(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def step(number: int, loss) -> dict:
    return {"kind": "step", "step": number, "pairs": 32 * number, "loss_nats": loss}


def look(number: int, loss: float, accuracy: float) -> dict:
    return {"kind": "validation", "step": number, "pairs": 32 * number,
            "validation_loss_nats": loss, "validation_accuracy": accuracy}  # fmt: skip


def test_training_shows_the_last_validation_and_both_floors(tmp_path, kept):
    """Title, ln 2, the length floor; a resumed step counts once, a lost loss is told."""
    lines = [{"kind": "note", "note": "hello"}, look(0, 0.70, 0.5)]
    lines += [step(i, 0.69 - i / 1000) for i in range(1, 40)] + [step(12, 0.5), step(40, None)]
    lines += [look(40, 0.65, 0.63)]
    metrics = write_metrics(tmp_path / "metrics.jsonl", lines)
    files = plot_training(metrics, tmp_path / "training", length_accuracy=0.598)
    words = " | ".join(drawn_words(kept[0]))
    assert (
        "63.0% of held-out comparisons right after 1,280 pairs (the longer reply: 59.8%)" in words
    )
    assert all(part in words for part in ("ln 2", "longer reply 59.8%", "1 of the steps"))
    rows = table(files)
    steps = {
        float(row["pairs"]): float(row["loss_nats"]) for row in rows if row["series"] == "training"
    }
    assert len(steps) == 39
    assert steps[12 * 32] == 0.5
    assert sum(row["series"] == "validation" for row in rows) == 2


def test_training_with_norms_sets_and_an_event(tmp_path, kept):
    """A third panel, a line for each set, and the event in all panels and in the numbers."""
    lines = []
    for number in range(1, 201):
        norm = 60.0 if number == 150 else 1.0 + 0.1 * (number % 5)
        loss = 0.6 + 0.002 * (number % 7) - 0.2 * (number > 150)
        lines.append({**step(number, loss), "grad_norm": norm, "skipped": False})
    for number, accuracy in ((100, 0.6), (200, 0.7)):
        sets = {"forum": {"accuracy": accuracy}, "people": {"accuracy": accuracy - 0.1}}
        lines.append({**look(number, 0.6, accuracy), "validation_by_set": sets})
    files = plot_training(write_metrics(tmp_path / "m.jsonl", lines), tmp_path / "training")
    words = drawn_words(kept[0])
    assert "gradient norm" in words
    assert "people 60.0%" in words
    rows = table(files)
    assert [row["pairs"] for row in rows if row["series"] == "event"] == [str(32 * 150)]
    assert sum(row["series"] == "gradient norm" for row in rows) == 200
    assert sum(row["series"] == "validation people" for row in rows) == 2


def test_training_without_validation_or_without_steps(tmp_path):
    """A young run is drawn; an empty or foreign file is a DataError."""
    young = write_metrics(tmp_path / "a.jsonl", [step(1, 0.7)])
    assert len(plot_training(young, tmp_path / "a")) == 3
    for lines, message in (([], "no step"), ([{"loss": 1}], r"b\.jsonl:1: lacks 'kind'")):
        with pytest.raises(DataError, match=message):
            plot_training(write_metrics(tmp_path / "b.jsonl", lines), tmp_path / "b")


def test_smoothing_keeps_a_constant_and_starts_unbiased():
    """A moving average of equal values is that value, from the first on."""
    assert smooth([2.0] * 5, 3) == pytest.approx([2.0] * 5)
    assert smooth([1.0, 0.0], 2) == pytest.approx([1.0, 1 / 3])
