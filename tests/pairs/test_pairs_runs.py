"""The same bytes whoever works and in whatever order; killed and gone on with; damaged inputs."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from leaks import VOCABULARY, sentence

from worldpm.errors import DataError, InterruptedRunError
from worldpm.ledger import read_ledger
from worldpm.making import partial_path
from worldpm.pairs import build, planning
from worldpm.pairs.build import Benchmarks, Run, build_pairs
from worldpm.pairs.dedup import DedupSettings
from worldpm.pairs.sample import PairSettings
from worldpm.pairs.split import SplitSettings
from worldpm.records import Comparison, Message, Post, Thread
from worldpm.store import ArtifactWriter, read_artifact

SETTINGS = PairSettings(split=SplitSettings(validation=0.2, test=0.2))
NUM_FOLDERS, NUM_THREADS = 4, 60


def thread(source, number, chance):
    """A thread of two answers of random words."""
    texts = [sentence(VOCABULARY, chance) for _ in range(3)]
    posts = [Post(f"{number}", None, None, None, texts[0], 0)]
    posts += [Post(f"{number}-{n}", f"{number}", None, None, texts[n], n) for n in (1, 2)]
    title = " ".join(texts[0].split()[:6])
    return Thread(str(number), source, title, ("tag",), tuple(posts), None, None)


def nearly(source, number, other, chance):
    """The same thread in another place, a word changed in each post."""
    posts = []
    for post in other.posts:
        words = post.text.split()
        words[chance.randrange(len(words))] = "changed"
        posts.append(replace(post, text=" ".join(words)))
    return replace(other, id=str(number), source=source, posts=tuple(posts))


LEAK = sentence(VOCABULARY, random.Random(99), 30, 30)


def read_quiz(folder):
    """A benchmark of one row, whatever the folder holds."""
    assert folder.is_dir()
    yield "quiz", Comparison("7", "quiz", None, (Message("user", LEAK),), ((), ()))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four folders of threads, a fifth of them in another folder too, and a leak in each."""
    at, chance = tmp_path_factory.mktemp("threads"), random.Random(4)
    folders, every = [], []
    for site in "dbac"[:NUM_FOLDERS]:
        source = f"{site}.org"
        threads = [thread(source, number, chance) for number in range(NUM_THREADS)]
        for number in range(0, len(every), 5 * (len(folders) or 1)):
            threads.append(nearly(source, 1000 + number, every[number], chance))
        leaked = thread(source, 5000, chance)
        question = replace(leaked.posts[0], text=f"{leaked.posts[0].text} {LEAK.upper()}")
        threads.append(replace(leaked, posts=(question, *leaked.posts[1:])))
        lonely = thread(source, 6000, chance)
        threads.append(replace(lonely, posts=lonely.posts[:2]))
        every += threads[:NUM_THREADS]
        folder = at / f"threads-{site}"
        with ArtifactWriter(folder, Thread, kind="threads", settings={}) as out:
            for each in threads:
                out.add("posts", each)
        folders.append(folder)
    quiz = at / "quiz"
    quiz.mkdir()
    (quiz / "rows.json").write_text("{}")
    return folders, Benchmarks(quiz, read_quiz)


def digest(folder):
    """Every file's hash, and all of the manifest but when and by which command."""
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    del manifest["created"], manifest["command"]
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    return files, orjson.dumps(manifest)


@pytest.fixture(scope="module")
def expected(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "data"
    build_pairs(made[0], folder, SETTINGS, against=made[1], quiet=True)
    return folder, digest(folder)


def test_every_thread_is_a_comparison_or_a_row_of_the_ledger(made, expected):
    """Threads read = comparisons + ledger, by key, and the ledger's reasons are the manifest's."""
    folder, (files, _) = expected
    kept = Counter((c.source, c.id) for c in read_artifact(folder, Comparison))
    lost = Counter((row.source, row.id) for _, row in read_ledger(folder))
    read = Counter((t.source, t.id) for each in made[0] for t in read_artifact(each, Thread))
    assert kept + lost == read
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["dropped"] == Counter(row.reason for _, row in read_ledger(folder))
    assert set(manifest["dropped"]) == {"contaminated", "near_duplicate", "only_one_answer"}
    assert manifest["numbers"]["threads"] == sum(read.values())
    assert "train-00003-of-00004.parquet" in files
    assert "ledger/dropped-00000-of-00004.parquet" in files


def test_the_ledger_names_the_twin_and_the_benchmark(expected):
    """Of a duplicate the thread that stays; of a leak whose row it is."""
    folder, _ = expected
    kept = {f"{c.source}:{c.id}" for c in read_artifact(folder, Comparison)}
    rows = {reason: [r for _, r in read_ledger(folder) if r.reason == reason] for reason in
            ("near_duplicate", "contaminated")}  # fmt: skip
    assert len(rows["near_duplicate"]) > 30
    assert {row.detail for row in rows["near_duplicate"]} <= kept
    assert [(row.id, row.detail) for row in rows["contaminated"]] == [
        ("5000", "quiz 7, prompt in prompt")
    ] * NUM_FOLDERS
    report = (folder / "ledger" / "contamination.jsonl").read_bytes().splitlines()
    hits = [orjson.loads(line) for line in report]
    assert {(hit["id"], hit["benchmark"], hit["row"], hit["kind"]) for hit in hits} == {
        ("5000", "quiz", "7", "ngram")
    }
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["contamination"]["comparisons"] == NUM_FOLDERS
    assert manifest["contamination"]["rows"] == {"quiz": 1}


@pytest.mark.parametrize("drop", ["whole", "prompt", "nothing"])
def test_near_duplicates_never_straddle_splits(made, tmp_path, drop):
    """Kept or not, a thread and its copy of a changed word are in one split."""
    settings = SETTINGS.model_copy(update={"dedup": DedupSettings(drop=drop)})
    build_pairs(made[0], tmp_path / "data", settings, quiet=True)
    parts = {
        (c.source, c.id): part
        for part in ("train", "validation", "test")
        for c in read_artifact(tmp_path / "data", Comparison, part)
    }
    titles = {(t.source, t.id): t.title for f in made[0] for t in read_artifact(f, Thread)}
    by_title = {}
    for key, part in parts.items():
        by_title.setdefault(titles[key], []).append(part)
    assert all(len(set(found)) == 1 for found in by_title.values())
    several = [found for found in by_title.values() if len(found) > 1]
    if drop != "prompt":  # of which a copy of a short prompt may differ by too much
        assert bool(several) == (drop == "nothing")
    assert set(parts.values()) == {"train", "validation", "test"}


def test_a_held_out_site_shares_no_text_with_training(made, tmp_path):
    """What is like its threads is in no split, and test is that site alone."""
    split = SplitSettings(test=0, validation=0, held_out_sources=("a.org",))
    settings = PairSettings(split=split, dedup=DedupSettings(drop="nothing"))
    manifest = build_pairs(made[0], tmp_path / "data", settings, quiet=True)
    assert {c.source for c in read_artifact(tmp_path / "data", Comparison, "test")} == {"a.org"}
    assert manifest["dropped"]["near_held_out"] > 5
    assert manifest["sources"]["a.org"].keys() == {"test"}


def test_without_a_threshold_only_the_same_words_are_one(made, tmp_path):
    """Exact duplicates are found without signatures, near ones are not."""
    copy = tmp_path / "copy"
    with ArtifactWriter(copy, Thread, kind="threads", settings={}) as out:
        for each in read_artifact(made[0][0], Thread):
            posts = tuple(replace(post, text=f"**{post.text.upper()}**") for post in each.posts)
            out.add("posts", replace(each, source="copy.org", posts=posts))
    settings = PairSettings(dedup=DedupSettings(threshold=1))
    manifest = build_pairs([*made[0][:1], copy], tmp_path / "data", settings, quiet=True)
    assert manifest["dropped"] == {"exact_duplicate": NUM_THREADS + 1, "only_one_answer": 2}


def command(folders, out, quiz, *more):
    """The run as a script, since the benchmark's reader is this file's."""
    code = (
        "import sys; from pathlib import Path; import test_pairs_runs as t; "
        "from worldpm.pairs.build import *; a = sys.argv[1:]; "
        "build_pairs([Path(p) for p in a[3:]], Path(a[0]), t.SETTINGS, "
        "against=Benchmarks(Path(a[1]), t.read_quiz), run=Run(int(a[2]), quiet=True))"
    )
    script = f"if __name__ == '__main__':\n    {code}\n"
    path = Path(out).with_name("run_it.py")
    path.write_text(script)
    return [sys.executable, str(path), str(out), str(quiz), *more, *map(str, folders)]


def environment(seed="0"):
    tests = Path(__file__).parents[1]
    return {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests / "pairs")]),
    }


@pytest.mark.parametrize(
    ("workers", "order", "seed"),
    [("2", (2, 0, 3, 1), "1"), pytest.param("4", (3, 2, 1, 0), "2", marks=pytest.mark.slow)],
)
def test_workers_order_and_hash_seed_change_no_byte(made, expected, tmp_path, workers, order, seed):
    """Several processes, folders in another order, another seed of hashes."""
    folders = [made[0][place] for place in order]
    arguments = command(folders, tmp_path / "data", made[1].folder, workers)
    subprocess.run(arguments, check=True, env=environment(seed))
    assert digest(tmp_path / "data") == expected[1]


@pytest.mark.slow
def test_ray_changes_no_byte(made, expected, tmp_path):
    """Tasks on a Ray of this machine make the same files and the same manifest."""
    pytest.importorskip("ray")
    run = Run(2, "ray", quiet=True)
    settings = {"against": None, "run": run}
    build_pairs(made[0], tmp_path / "ray", SETTINGS, **settings)
    build_pairs(made[0], tmp_path / "here", SETTINGS, quiet=True)
    assert digest(tmp_path / "ray") == digest(tmp_path / "here")


def test_little_memory_changes_no_byte(made, expected, tmp_path, monkeypatch):
    """The search for near duplicates in many ranges finds the same."""
    monkeypatch.setattr(build, "num_ranges", lambda *_: 5)
    build_pairs(made[0], tmp_path / "data", SETTINGS, against=made[1], quiet=True)
    assert digest(tmp_path / "data") == expected[1]


def test_shares_on_several_machines_change_no_byte(made, expected, tmp_path):
    """Each does its tasks of each stage and says what is missing; the last call finishes."""
    out = tmp_path / "data"
    for number in [1, 2] * 6:
        run = Run(share=(number, 2), quiet=True)
        with pytest.raises(InterruptedRunError) as caught:
            build_pairs(made[0], out, SETTINGS, against=made[1], run=run)
        if "without --shard" in str(caught.value):
            break
    assert not out.exists()
    build_pairs(made[0], out, SETTINGS, against=made[1], quiet=True)
    assert digest(out) == expected[1]


def done(out):
    return len(list(partial_path(out).glob("*.done.json")))


def kill_after(arguments, condition):
    """Start a run, kill -9 it when the condition holds; whether it was still running."""
    process = subprocess.Popen(arguments, env=environment(), start_new_session=True)
    while process.poll() is None and not condition():
        time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_a_killed_run_goes_on_with_the_same_bytes(made, expected, tmp_path):
    """Killed while comparisons are made, duplicates are sought and files are written."""
    out = tmp_path / "data"
    arguments = command(made[0], out, made[1].folder, "1")
    for after in (3, 7, 10):
        if kill_after(arguments, lambda least=after: done(out) >= least):
            assert done(out) >= after
            assert not out.exists()
    if not out.exists():
        build_pairs(made[0], out, SETTINGS, against=made[1], quiet=True)
    assert digest(out) == expected[1]
    assert not partial_path(out).exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments(made, expected, tmp_path):
    """Each run killed at a random moment, by two workers; resumed, it loses no byte."""
    chance = random.Random(7)
    start = time.monotonic()
    arguments = command(made[0], tmp_path / "whole", made[1].folder, "2")
    subprocess.run(arguments, check=True, env=environment())
    seconds = time.monotonic() - start
    killed = 0
    for number in range(40):
        out = tmp_path / f"data-{number}"
        arguments = command(made[0], out, made[1].folder, "2")
        end = time.monotonic() + chance.uniform(0.2, 1.0) * seconds
        killed += kill_after(arguments, lambda end=end: time.monotonic() > end)
        if not out.exists():
            build_pairs(made[0], out, SETTINGS, against=made[1], quiet=True)
        assert digest(out) == expected[1]
        if killed == 20:
            return
    pytest.fail(f"only {killed} of 40 runs could be killed")


def damaged(folder, tmp_path, change):
    """A copy of a folder of threads with its one file changed."""
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    change(copy / "posts.parquet")
    return copy


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def spoil(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)


@pytest.mark.parametrize("change", [cut, spoil, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damaged_threads_are_an_error(made, tmp_path, change):
    """A file cut, spoilt, missing or empty is named, and nothing is left behind."""
    bad = damaged(made[0][0], tmp_path, change)
    with pytest.raises(DataError, match=r"posts\.parquet"):
        build_pairs([bad, made[0][1]], tmp_path / "data", quiet=True)
    assert not (tmp_path / "data").exists()
    assert not partial_path(tmp_path / "data").exists()


def test_groups_depend_on_files_alone(made, monkeypatch):
    """Files of a folder go together up to a size, and never with those of another."""
    groups = planning.group_files(made[0])
    assert [each.folder for each in groups] == [f"threads-{site}" for site in "abcd"]
    assert groups == planning.group_files(made[0][::-1])
    assert sum(each.num_rows for each in groups) == sum(1 for f in made[0] for _ in
                                                       read_artifact(f, Thread))  # fmt: skip


def test_a_plan_says_what_a_run_takes(made):
    """More workers than groups are of no use; benchmarks and near duplicates take more."""
    one = planning.plan_pairs(made[0], None, SETTINGS, workers=1)
    many = planning.plan_pairs(made[0], made[1].folder, SETTINGS, workers=9)
    assert (one.workers, many.workers, one.num_groups) == (1, 4, 4)
    assert one.num_threads > NUM_FOLDERS * NUM_THREADS
    exact = SETTINGS.model_copy(update={"dedup": DedupSettings(threshold=1)})
    cheap = planning.plan_pairs(made[0], None, exact, workers=1)
    assert cheap.disk_bytes < one.disk_bytes
    assert one.seconds < many.workers * many.seconds
    assert cheap.num_ranges == 0
