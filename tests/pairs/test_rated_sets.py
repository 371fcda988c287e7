"""Sets with ratings: each reader on a few rows in its authors' own form."""

import pytest
from published_sets import assistant, edges, read, texts, user, write

from worldpm.errors import DataError

NAMES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def rated(prompt, response, *ratings):
    """A row of HelpSteer2 with its five ratings."""
    return {"prompt": prompt, "response": response, **dict(zip(NAMES, ratings, strict=True))}


def test_helpsteer2_ratings(tmp_path):
    """Two neighbouring rows of one prompt are a pair; helpfulness decides; extra files are left."""
    many = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nGo"
    rows = [
        rated(many, "a", 1, 3, 4, 2, 2),
        rated(many, "b", 4, 3, 4, 1, 1),
        rated("p", "a", 2, 0, 4, 2, 2),
        rated("p", "b", 2, 4, 4, 2, 2),
        rated("alone", "b", 2, 2, 2, 2, 2),
        rated("last", "b", 2, 2, 2, 2, 2),
    ]
    write(tmp_path / "train.jsonl.gz", rows)
    write(tmp_path / "preference" / "preference.jsonl.gz", [{"prompt": "not read"}])
    (comparison,), dropped = read("helpsteer2", tmp_path)
    assert comparison.prompt == (user("Hi"), assistant("Hello"), user("Go"))
    assert (texts(comparison), edges(comparison)) == (["a", "b"], [(1, 0, 3.0)])
    assert (comparison.id, comparison.subset) == ("train/2", "train")
    assert dropped == {"all_scores_equal": 1, "only_one_answer": 2}


def test_helpsteer2_keeps_every_rating_for_a_regression_head(tmp_path):
    """All five ratings of each reply stand in its place of meta, and another one may decide."""
    rows = [rated("p", "a", 2, 4, 3, 1, 0), rated("p", "b", 2, 1, 3, 2, 4)]
    write(tmp_path / "validation.jsonl.gz", rows)
    assert read("helpsteer2", tmp_path) == ([], {"all_scores_equal": 1})
    ((comparison,), dropped) = read("helpsteer2", tmp_path, rating="correctness")
    assert edges(comparison) == [(0, 1, 3.0)]
    assert [reply["ratings"] for reply in comparison.meta["replies"]] == [
        dict(zip(NAMES, values, strict=True)) for values in ((2, 4, 3, 1, 0), (2, 1, 3, 2, 4))
    ]
    assert dropped == {}
    assert edges(read("helpsteer2", tmp_path, rating="verbosity")[0][0]) == [(1, 0, 4.0)]


def test_helpsteer2_preferences(tmp_path):
    """Strength runs from -3, the first is better, to 3, the second is; 0 is a tie."""
    row = {"split": "train", "prompt": "p", "response_1": "a", "response_2": "b"}
    rows = [row | {"preference_strength": strength} for strength in (-2, 3, 0)]
    write(tmp_path / "preference" / "preference.jsonl.gz", rows)
    write(tmp_path / "train.jsonl.gz", [rated("p", "a", 1, 1, 1, 1, 1)])
    found, dropped = read("helpsteer2-preference", tmp_path)
    assert [edges(comparison) for comparison in found] == [[(0, 1, 2.0)], [(1, 0, 3.0)]]
    assert {comparison.subset for comparison in found} == {"train"}
    assert dropped == {"all_scores_equal": 1}
    file = tmp_path / "preference" / "preference.jsonl.gz"
    assert read("helpsteer2-preference", file) == (found, dropped)
    write(tmp_path / "preference.jsonl.gz", rows)  # older revisions hold the file in both places
    with pytest.raises(DataError, match="must hold one preference"):
        read("helpsteer2-preference", tmp_path)
    with pytest.raises(DataError, match="import the file as helpsteer2-preference"):
        read("helpsteer2", file)


def completion(model, response, overall, fine=None, **aspects):
    """A completion of UltraFeedback; ratings of aspects come as text."""
    return {
        "model": model,
        "principle": "helpfulness",
        "custom_system_prompt": "As an assistant, be helpful.",
        "response": response,
        "overall_score": overall,
        "fine-grained_score": overall if fine is None else fine,
        "annotations": {
            name: {"Rating": value, "Rationale": "."} for name, value in aspects.items()
        },
    }


def test_ultrafeedback(tmp_path):
    """Four completions, one comparison, an edge where scores differ; ties are counted."""
    four = [
        completion("m1", "a", 3.0),
        completion("m2", "b", 7.5),
        completion("m3", "c", 7.5),
        completion("m4", "d", 5.0),
    ]
    row = {"source": "flan", "instruction": "Do", "models": ["m1"], "completions": four}
    tie = [each | {"overall_score": 5.0} for each in four]
    rows = [row, row | {"completions": tie}, row | {"completions": tie[:1]}]
    write(tmp_path / "flan.jsonl", rows)
    (comparison,), dropped = read("ultrafeedback", tmp_path)
    assert (comparison.source, comparison.subset, comparison.id) == (
        "ultrafeedback",
        "flan",
        "flan/1",
    )
    assert comparison.prompt == (user("Do"),)
    assert texts(comparison) == ["a", "b", "c", "d"]
    assert edges(comparison) == [
        (1, 0, 4.5), (2, 0, 4.5), (3, 0, 2.0), (1, 3, 2.5), (2, 3, 2.5),
    ]  # fmt: skip
    assert [reply["model"] for reply in comparison.meta["replies"]] == ["m1", "m2", "m3", "m4"]
    assert dropped == {"all_scores_equal": 1, "only_one_answer": 1}


def test_ultrafeedback_by_another_rating(tmp_path):
    """The mean of the aspects or one aspect may decide; N/A is unknown and beats nothing."""
    row = {
        "instruction": "Do",
        "completions": [
            completion("m1", "a", 5.0, 4.25, honesty="5", helpfulness="2"),
            completion("m2", "b", 5.0, 3.0, honesty="N/A", helpfulness="3"),
            completion("m3", "c", 5.0, 3.0, honesty="1", helpfulness="3"),
        ],
    }
    write(tmp_path / "a.jsonl", [row])
    assert read("ultrafeedback", tmp_path) == ([], {"all_scores_equal": 1})
    for rating, expected in {
        "fine-grained_score": [(0, 1, 1.25), (0, 2, 1.25)],
        "honesty": [(0, 2, 4.0)],
        "helpfulness": [(1, 0, 1.0), (2, 0, 1.0)],
    }.items():
        ((comparison,), _) = read("ultrafeedback", tmp_path, rating=rating)
        assert edges(comparison) == expected, rating
    assert comparison.meta["replies"][1]["ratings"] == {
        "overall_score": 5.0,
        "fine-grained_score": 3.0,
        "helpfulness": 3.0,
    }


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("helpsteer2", {"helpfulness": "3"}, "helpfulness must be a number"),
        ("helpsteer2", {"verbosity": None}, "verbosity must be a number"),
        ("helpsteer2-preference", {"preference_strength": 4}, "must be from -3 to 3, not 4"),
        ("helpsteer2-preference", {"split": 1}, "split must be text"),
        ("ultrafeedback", {"completions": ["b", "c"]}, "completions must be a list"),
        ("ultrafeedback", {"completions": 4}, "completions must be a list"),
        ("ultrafeedback", {"completions": [{}, {}]}, r"completions\[0\]: response must be text"),
        ("ultrafeedback", {"source": 4}, "source must be text"),
        ("ultrafeedback", {"instruction": None}, "instruction must be text"),
    ],
)
def test_fields_of_another_kind_are_errors(tmp_path, name, row, message):
    """A field that is not what its authors publish is an error with the row, not a traceback."""
    completions = [{"response": str(i), "overall_score": i} for i in range(2)]
    whole = {
        **rated("p", "r", 1, 1, 1, 1, 1),
        "response_1": "a",
        "response_2": "b",
        "instruction": "?",
        "completions": completions,
    }
    if name == "helpsteer2-preference":
        whole["preference_strength"] = 1
    write(tmp_path / "a.jsonl", [whole | row])
    with pytest.raises(DataError, match=f"a.jsonl:1: .*{message}"):
        read(name, tmp_path / "a.jsonl")


@pytest.mark.parametrize("value", ["high", [1], "nan", "inf", "9" * 400])
def test_a_rating_that_is_no_number_is_an_error(tmp_path, value):
    """Ratings of aspects are numbers as text, or N/A."""
    bad = completion("m", "a", 1.0, honesty=value)
    write(tmp_path / "a.jsonl", [{"instruction": "?", "completions": [bad, bad]}])
    with pytest.raises(DataError, match=r"completions\[0\]: annotations.honesty.Rating must be"):
        read("ultrafeedback", tmp_path)
