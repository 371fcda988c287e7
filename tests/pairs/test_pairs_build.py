"""Folders of comparisons: splits as parts, every thread accounted for."""

import pytest
from dumps import answer, document, question, write_7z

from worldpm.errors import DataError, OutputExistsError
from worldpm.forum.build import build_threads
from worldpm.forum.reading import ForumSettings
from worldpm.pairs.build import build_pairs
from worldpm.pairs.sample import PairSettings
from worldpm.pairs.split import SplitSettings
from worldpm.pairs.topics import TopicSettings
from worldpm.records import Comparison, Post, Thread
from worldpm.store import ArtifactWriter, read_artifact


def site(name, questions):
    """Threads that take turns: two different answers, two equal, one, none."""
    rows = []
    for number in range(1, questions + 1):
        rows.append(question(number, Title=f"Title {number} of {name}"))
        first = 1000 * number
        for index in range((2, 2, 1, 0)[number % 4]):
            rows.append(answer(first + index, number, index if number % 4 == 0 else 3))
    return document(*rows)


@pytest.fixture
def threads(tmp_path):
    folders = []
    for name in ("a", "b"):
        dump = write_7z(tmp_path / f"{name}.org.7z", Posts=site(name, 80))
        folders.append(tmp_path / f"threads-{name}")
        build_threads([dump], folders[-1], settings=ForumSettings(min_answers=0), quiet=True)
    return folders


def test_threads_read_are_comparisons_plus_dropped(tmp_path, threads):
    """80 threads a site: a quarter each of preference, tie, single answer and none."""
    manifest = build_pairs(threads, tmp_path / "data", PairSettings(), quiet=True)
    assert manifest["kind"] == "comparisons"
    assert manifest["dropped"] == {
        "all_scores_equal": 40,
        "no_answer": 40,
        "only_one_answer": 40,
    }
    assert sum(manifest["counts"].values()) == 40
    numbers = manifest["numbers"]
    assert numbers["threads"] == 160 == 40 + sum(manifest["dropped"].values())
    assert (numbers["replies"], numbers["edges"], numbers["replies_not_sampled"]) == (80, 40, 0)
    assert len(manifest["inputs"]) == 2


@pytest.mark.parametrize("topics", [TopicSettings(), TopicSettings(power=0.5)])
@pytest.mark.usefixtures("threads")
def test_threads_of_too_few_answers_make_no_difference(tmp_path, topics):
    """Dropped before or here, they leave the same comparisons, byte by byte, in the same parts."""
    dumps = sorted(tmp_path.glob("*.7z"))
    settings = PairSettings(split=SplitSettings(test=0.3, validation=0.3), topics=topics)

    def made(name, kept):
        out = tmp_path / f"data-{name}"
        build_threads(dumps, tmp_path / name, settings=kept, quiet=True)
        manifest = build_pairs([tmp_path / name], out, settings, quiet=True)
        parts = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
        return parts, manifest["counts"], manifest["dropped"]

    parts, counts, dropped = made("fewer", ForumSettings())
    assert min(counts.values()) > 0
    assert dropped == {"all_scores_equal": 40}
    before = {"no_answer": 40, "only_one_answer": 40}
    assert made("all", ForumSettings(min_answers=0)) == (parts, counts, dropped | before)


def test_held_out_sites_are_the_test_set(tmp_path, threads):
    """With no test fraction, test is the named site, whole, and nothing of it trains."""
    chosen = PairSettings(split=SplitSettings(test=0, held_out_sources=("b.org",)))
    manifest = build_pairs(threads, tmp_path / "data", chosen, quiet=True)
    test = list(read_artifact(tmp_path / "data", Comparison, "test"))
    assert {comparison.source for comparison in test} == {"b.org"}
    assert manifest["sources"]["b.org"] == {"test": 20}
    assert "test" not in manifest["sources"]["a.org"]
    assert manifest["settings"]["split"]["held_out_sources"] == ["b.org"]


def test_splits_do_not_depend_on_what_else_is_read(tmp_path, threads):
    """A thread's split is the same alone, together and in the other order."""
    chosen = PairSettings(split=SplitSettings(test=0.3, validation=0.3))

    def parts(folders, name):
        manifest = build_pairs(folders, tmp_path / name, chosen, quiet=True)
        return {
            (comparison.source, comparison.id): part
            for part in manifest["counts"]
            for comparison in read_artifact(tmp_path / name, Comparison, part)
        }

    together = parts(threads, "both")
    assert together == parts(threads[::-1], "turned")
    alone = parts(threads[:1], "one")
    assert alone.items() <= together.items()
    assert len(set(together.values())) == 3


def test_outputs_and_inputs_are_checked(tmp_path, threads):
    """No overwriting without force, no folder that is no artefact, no half-made output."""
    build_pairs(threads, tmp_path / "data", quiet=True)
    with pytest.raises(OutputExistsError):
        build_pairs(threads, tmp_path / "data", quiet=True)
    build_pairs(threads, tmp_path / "data", force=True, quiet=True)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        build_pairs([tmp_path], tmp_path / "other", quiet=True)
    with pytest.raises(DataError, match="lacks the columns"):
        build_pairs([tmp_path / "data"], tmp_path / "other", quiet=True)
    assert not (tmp_path / "other").exists()


def test_a_held_out_site_that_is_not_there_is_an_error(tmp_path, threads):
    """A misspelt site would silently train on what should be tested."""
    chosen = PairSettings(split=SplitSettings(held_out_sources=("c.org",)))
    with pytest.raises(
        DataError, match=r"held_out_sources: no threads of c\.org; there are a\.org"
    ):
        build_pairs(threads, tmp_path / "data", chosen, quiet=True)
    assert not (tmp_path / "data").exists()


def test_progress_goes_to_stderr(tmp_path, threads, capfd):
    """Nothing on stdout, and quiet is quiet."""
    build_pairs(threads, tmp_path / "one", quiet=True)
    assert capfd.readouterr() == ("", "")
    build_pairs(threads, tmp_path / "two")
    out, err = capfd.readouterr()
    assert out == ""
    assert "threads-a" in err


def test_a_thread_counts_once(tmp_path, threads):
    """Two dumps of one site do not train on a thread twice: the second reading is counted."""
    once = build_pairs(threads[:1], tmp_path / "once", quiet=True)
    twice = build_pairs([threads[0], threads[0]], tmp_path / "twice", quiet=True)
    assert twice["counts"] == once["counts"]
    assert twice["dropped"] == once["dropped"] | {"repeated_thread": 80}


def test_what_was_asked_below_one_question_is_never_split(tmp_path):
    """A thread and the threads below its answers are in the same part, for 60 questions."""
    with ArtifactWriter(tmp_path / "threads", Thread, kind="threads", settings={}) as out:
        for number in map(str, range(60)):
            root = Post(number, None, None, None, f"Is it {number}?", 0)
            answers = [Post(f"{number}.{n}", number, None, None, f"a{n}", n) for n in range(2)]
            below = [Post(f"{number}.0.{n}", answers[0].id, None, None, f"b{n}", n) for n in (0, 1)]
            out.add("p", Thread(number, "s", "", (), (root, *answers), None, None))
            chain = (root, answers[0], *below)
            out.add("p", Thread(f"{number}/{number}.0", "s", "", (), chain, None, None, 2))
    settings = PairSettings(split=SplitSettings(validation=0.3, test=0.3))
    build_pairs([tmp_path / "threads"], tmp_path / "data", settings, quiet=True)
    parts = {
        part: {c.id.split("/")[0] for c in read_artifact(tmp_path / "data", Comparison, part)}
        for part in ("train", "validation", "test")
    }
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 60
    assert min(map(len, parts.values())) > 5
