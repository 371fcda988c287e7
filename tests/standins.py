"""Small files under every name that the documentation's commands use.

    lay_out(folder, ["dumps", "conversations.jsonl", "path/to/WorldPM-72B"])

`python tests/standins.py FOLDER NAME...` does the same. A new page that needs a file of another
name gets a line in STAND_INS.
"""

import io
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import dumps
import suite_folders
from published_sets import write
from tiny import SMALL, TEXT, TOY, small_model, tiny_tokenizer, toy_comparison

TESTS = Path(__file__).parent
SITES = {
    "ai.stackexchange.com": 2120,
    "bicycles.meta.stackexchange.com": 4000,
    "datascience.stackexchange.com": 6000,
    "knots.stackexchange.com": 8000,
}
LAYERS = 26  # of the default base, which has 30: recipes freeze up to 25


def verb(*args):
    """Run `worldpm ARGS`."""
    subprocess.run(["worldpm", *map(str, args), "-q"], check=True, stdout=subprocess.DEVNULL)


def words(seed, count):
    """Words that no other seed gives, so that no two texts are alike."""
    rng = random.Random(seed)
    return " ".join(
        "".join(rng.choices("abcdefghiklmnoprstu", k=rng.randint(3, 9))) for _ in range(count)
    )


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def archives(folder):
    """Four sites of twenty questions, each with answers of different votes."""
    folder.mkdir()
    for site, first in SITES.items():
        rows = []
        for number in range(first, first + 80, 4):
            text = words(number, 5)
            rows.append(dumps.question(number, Title=words(-number, 3), Body=f"<p>{text}?</p>"))
            for place, votes in enumerate((5, 1, 3)):
                body = f"<p>{words(number + 1 + place, 6)}.</p>"
                rows.append(dumps.answer(number + 1 + place, number, votes, Body=body))
        dumps.write_7z(folder / f"{site}.7z", Posts=dumps.document(*rows))


def stack_exchange(folder):
    """Threads, as `worldpm forum` makes them."""
    source = folder.with_name(f".{folder.name}-dumps")
    archives(source)
    verb("forum", "stackexchange", *sorted(source.iterdir()), "-o", folder)


def reddit_month(kind):
    """One half of a month: submissions, or comments."""

    def make(path):
        rows = [row for row in dumps.REDDIT if ("title" in row) == (kind == "RS")]
        dumps.write_lines(path, *rows)

    return make


def reddit(folder):
    """Threads of Reddit."""
    source = dumps.write_lines(folder.with_name(f".{folder.name}.zst"), *dumps.REDDIT)
    verb("forum", "reddit", source, "-o", folder)


def paired(folder):
    """Comparisons, as `worldpm pairs` makes them, their threads beside them."""
    threads = folder.with_name("threads")
    if not threads.exists():
        stack_exchange(threads)
    verb("pairs", threads, "-o", folder)


def comparisons(folder, num_train=60):
    """A folder of toy comparisons with all three parts."""
    from worldpm.records import Comparison
    from worldpm.store import ArtifactWriter

    rng = random.Random(0)
    kept = folder.with_name(f".{folder.name}-inner")
    if folder.exists():  # another stand-in, below it
        folder.rename(kept)
    with ArtifactWriter(folder, Comparison, kind="comparisons", settings={}) as writer:
        for part, count in (("train", num_train), ("validation", 12), ("test", 12)):
            for number in range(count):
                writer.add(part, toy_comparison(number, rng, "ab"[number % 2]))
    if kept.exists():
        for path in kept.iterdir():
            path.rename(folder / path.name)


def suites(folder):
    """Every suite's folder, in its authors' form."""
    for name, make in suite_folders.WRITERS.items():
        make(folder / name)


def released(folder):
    """A checkpoint as WorldPM was released: Qwen2 with a head of two layers, no contract."""
    from checkpoints import write_layout

    source = tiny_tokenizer(folder.with_name(f".{folder.name}-tokenizer"))
    write_layout(folder, "Qwen2ForRewardModel", tokenizer=source)


def plain(folder):
    """A language model of Qwen's without a head, in transformers' own form."""
    from checkpoints import write_layout
    from safetensors.torch import load_file, save_file

    source = tiny_tokenizer(folder.with_name(f".{folder.name}-tokenizer"))
    write_layout(folder, "Qwen2ForSequenceClassification", tokenizer=source)
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state.pop("score.weight")[:1].repeat(320, 1)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"architectures": ["Qwen2ForCausalLM"]}))


def trained(folder):
    """A run of `worldpm train`, on the page's hh-rlhf where there is one."""
    base, recipe = folder.with_name(f".{folder.name}-base"), folder.with_name(".toy.toml")
    small_model(base, head=False)
    toy(recipe)
    data = folder.with_name("data") / "hh-rlhf"
    if not data.exists():
        data = folder.with_name(f".{folder.name}-data")
        comparisons(data)
    verb("train", recipe, "--base", base, "--data", data, "-o", folder)


def toy(path):
    """A recipe of seconds."""
    path.write_text("\n".join(TOY) + "\n")


def ladder(path, sizes=("1m", "3m", "10m", "28m"), amounts=(20, 40, 60)):
    """A ladder of these sizes' names, none of them of that size."""
    toy(path.with_name(".toy.toml"))
    text = f"comparisons = {list(amounts)}\nlooks = 1\n"
    text += 'settings = ["run.validate_every_steps=1000"]\n'
    for place, name in enumerate(sizes):
        size = 8 << place
        shape = {k: v for k, v in SMALL.items() if k != "vocab_size"} | {
            "hidden_size": size, "intermediate_size": 2 * size,
            "architectures": ["LlamaForCausalLM"]}  # fmt: skip
        path.with_name(f".{name}.json").write_text(json.dumps(shape))
        text += f'\n[sizes.{name}]\nrecipe = ".toy.toml"\nshape = ".{name}.json"\n'
    path.write_text(text)


def recipes(folder):
    """Ours, but ladders of small amounts of data, and one of small sizes."""
    shutil.copytree(TESTS.parent / "recipes", folder)
    path = folder / "ladders" / "processor.toml"
    few = re.sub(r"(?m)^comparisons = .*", "comparisons = [20, 40]", path.read_text())
    path.write_text(few)
    ladder(folder / "ladders" / "ablation.toml", ["3m"], (20, 40))


def observations(path):
    """A table of a ladder: a law of params and pairs for each of two suites."""
    from laws import draw

    from worldpm.scaling.observations import COLUMNS, write_observations

    points, rows = draw("joint", 1), []
    for suite in ("llmbar", "own-hh-rlhf"):
        for run, (params, pairs, loss) in enumerate(
            zip(points.params, points.data, points.value, strict=True)
        ):
            row = dict.fromkeys(COLUMNS, 0.5) | {"suite_comparisons": 9, "flops": 1e9 * pairs}
            row |= {"run": f"{params:.0f}-{pairs:.0f}", "size": f"{params:.0f}", "seed": 0,
                    "params": int(params), "step": 3, "pairs": pairs, "tokens": int(9 * pairs),
                    "suite": suite, "class": "objective", "loss": loss,
                    "phi_length": 0.1 - 0.002 * run}  # fmt: skip
            rows.append(row)
    folder = path.with_name(f".{path.stem}")
    folder.mkdir()
    write_observations(rows, folder)
    shutil.copy(folder / f"observations{path.suffix}", path)


def power(path):
    """A table of one size: loss by data."""
    from laws import draw

    points = draw("power", 1)
    rows = (f"{x},{y}" for x, y in zip(points.data, points.value, strict=True))
    path.write_text("\n".join(["data,loss", *rows]) + "\n")


def joint(path):
    """A table of sizes and data."""
    from laws import draw

    points = draw("joint", 1)
    rows = zip(points.params, points.data, points.value, strict=True)
    path.write_text("params,data,loss\n" + "".join(f"{p},{d},{y}\n" for p, d, y in rows))


def replies(path):
    """Rows of every form that `worldpm score` reads."""
    lines(path, [
        {"prompt": "Tips for better sleep?", "replies": ["Keep regular hours.", "just sleep lol"]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
    ])  # fmt: skip


def samples(path):
    """Prompts with several replies."""
    texts = TEXT.split()
    lines(path, [{"prompt": f"Say {a}.", "replies": [f"{a} {b}" for b in texts]} for a in texts])


def pairs(path):
    """Forty pairs."""
    lines(path, [{"id": str(i), "prompt": words(i, 4), "chosen": f"good {words(i, 6)}",
                  "rejected": words(i, 9)} for i in range(40)])  # fmt: skip


def board(path):
    """Threads of any forum, in HTML."""
    lines(path, [{"id": str(i), "title": words(i, 3), "answers": [
        {"id": f"{i}a", "text": f"<p>{words(i, 5)}</p>", "votes": 9},
        {"id": f"{i}b", "text": "<b>No.</b>", "votes": 1}]} for i in range(5)])  # fmt: skip


def helpsteer2(folder):
    """The published files of HelpSteer2, in small."""
    for part, count in (("train", 30), ("validation", 4)):
        write(folder / f"{part}.jsonl.gz", [
            {"prompt": words(i, 5), "response": words(100 + 2 * i + k, 8), "helpfulness": k + 1,
             "correctness": 3, "coherence": 4, "complexity": 2, "verbosity": k}
            for i in range(count) for k in range(2)
        ])  # fmt: skip


def default(folder):
    """The embedded default model and its base, as `worldpm model fetch` leaves them."""
    from importlib.resources import files

    from worldpm.model import default as ours
    from worldpm.store import file_sha256

    adapter = Path(str(files("worldpm") / "data" / ours.NAME / "adapter_model.safetensors"))
    small_model(
        folder / f"{ours.NAME}-{file_sha256(adapter)[:8]}-{ours.LAYOUT}", num_hidden_layers=LAYERS
    )
    small_model(folder / "smollm2-135m-instruct", head=False, num_hidden_layers=LAYERS)


def files_of_all(folder):
    """Dumps of three forums and the human pairs, as recipes/two-arms.sh takes them."""
    (folder / "forum").mkdir(parents=True)
    archives(folder / "forum" / "stackexchange")
    (folder / "forum" / "reddit").mkdir()
    for kind in ("RS", "RC"):
        reddit_month(kind)(folder / "forum" / "reddit" / f"{kind}_2021-06.zst")
    (folder / "forum" / "discourse").mkdir()
    posts = [{"id": i, "post_number": i, "cooked": f"<p>{words(i, 6)}</p>", "like_count": i,
              "actions_summary": [{"id": 2, "count": i}], "username": "jo"}
             for i in range(1, 4)]  # fmt: skip
    topic = {"id": 7, "title": "Knots", "slug": "knots", "post_stream": {"posts": posts}}
    with tarfile.open(folder / "forum" / "discourse" / "a.tar.gz", "w:gz") as tar:
        data = json.dumps(topic).encode()
        info = tarfile.TarInfo("t/7.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    for part in ("harmless-base", "helpful-base"):
        opened = [f"\n\nHuman: {words(f'{part} {i}', 3)}\n\nAssistant: " for i in range(40)]
        rows = [{"chosen": f"{text}Yes.", "rejected": f"{text}No"} for text in opened]
        write(folder / "preferences" / "hh_rlhf" / part / "train.jsonl.gz", rows)
    script = folder.with_name("benchmarks") / "two_arms.py"  # which the recipe runs
    script.parent.mkdir(exist_ok=True)
    link("benchmarks/two_arms.py")(script)


def link(target):
    """The repository's own."""
    return lambda path: path.symlink_to(TESTS.parent / target)


STAND_INS = {
    "conversations.jsonl": replies,
    "rows.jsonl": replies,
    "samples.jsonl": samples,
    "mine.jsonl": pairs,
    "board.jsonl": board,
    "dumps": archives,
    "ai.stackexchange.com.7z": lambda path: (
        archives(path.with_name(".ai")) or shutil.copy(path.with_name(".ai") / path.name, path)
    ),
    "RS_2021-06.zst": reddit_month("RS"),
    "RC_2021-06.zst": reddit_month("RC"),
    "threads-se": stack_exchange,
    "threads-reddit": reddit,
    "THREADS": stack_exchange,
    "HelpSteer2": helpsteer2,
    "nvidia/HelpSteer2": helpsteer2,
    "data": paired,
    "data/helpsteer2": comparisons,
    "data/hh-rlhf": comparisons,
    "hh-rlhf": comparisons,
    "forum": comparisons,
    "FORUM": comparisons,
    "HUMAN": comparisons,
    "DATA/hh-rlhf": comparisons,
    "DATA": comparisons,
    "benchmarks": suites,
    "DIR": suites,
    "LLMBar": suite_folders.write_llmbar,
    "JudgeBench": suite_folders.write_judgebench,
    "path/to/WorldPM-72B": released,
    "path/to/checkpoint": released,
    "WorldPM-72B": released,
    "WorldPM-7B": released,
    "Qwen/WorldPM-72B": released,
    "Qwen2.5-7B": plain,
    "serve.toml": lambda path: path.write_text("max_chars = 9000\n"),
    "MODEL": small_model,
    "BASE": lambda folder: small_model(folder, head=False),
    "models/a": small_model,
    "models/b": lambda folder: small_model(folder, seed=1),
    "runs/a/model": small_model,
    "run/model": small_model,
    "RUN": trained,
    "FILES": files_of_all,
    "RECIPE.toml": toy,
    "LADDER.toml": ladder,
    "OUT/observations.parquet": observations,
    "observations.csv": observations,
    "points.csv": joint,
    "small.csv": power,
    "recipes": recipes,
    "examples": link("examples"),
    "tests": link("tests"),
}


def lay_out(folder: Path, names: list[str]) -> None:
    """Make each of these names below a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (default if name == ".cache/worldpm" else STAND_INS[name])(path)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), sys.argv[2:])
