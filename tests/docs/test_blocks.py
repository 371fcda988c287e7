"""Every command and every Python block of the documentation runs as it stands.

A page's blocks run in order in one folder, through a shell, on stand-ins of the names they use
(`standins.py`); `pip`, `make` and other people's commands are checked as far as they can be
(`tools.py`). What is not run as typed stands in CHANGED and ELSEWHERE, with the reason.
"""

import importlib.util
import json
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
from blocks import RUN, BlockError, needed, read_blocks, run_blocks, unfenced_commands
from live import free_port
from tools import TOOLS, place_tools
from warm import stop_server, warm

ROOT = Path(__file__).parents[2]
RECORDS = {"log.md", "results.md"}  # of what was run then, on what was there
PAGES = [
    *(ROOT / name for name in ("README.md", "README_CN.md")),
    *(page for page in sorted(ROOT.glob("docs/*.md")) if page.name not in RECORDS),
    *sorted(ROOT.glob("docs/guides/*.md")),
    *sorted(ROOT.glob("docs/concepts/*.md")),
]
BLOCKS = {page.relative_to(ROOT).as_posix(): read_blocks(page, ROOT) for page in PAGES}
SLOW = {
    "README_CN.md": "its commands are those of README.md: tests/contracts/test_docs.py",
    "docs/guides/ladders.md": "trains some twenty models",
    "docs/guides/recipes.md": "trains some ten models",
}
LANGUAGES = {"sh", "python", "json", "toml", "console", "text", "bibtex", ""}


@dataclass(frozen=True)
class Change:
    """Other words for some of a page's, and why."""

    page: str
    old: str
    new: str
    why: str


CHANGED = [
    Change("*", "127.0.0.1:8000", "127.0.0.1:{port}", "port 8000 may be taken"),
    Change(
        "docs/guides/serving.md",
        "for line in open",
        "import rewards\nfor line in open",
        "rewards.jsonl is of a run: rewards.py asks the server of the block before for two rows",
    ),
    Change(
        "docs/guides/evaluate.md",
        "--fail-under rewardbench:Safety=0.6",
        "--fail-under rewardbench:Safety=0.6 || [ $? -eq 3 ]",
        "a random model may well be below",
    ),
    Change(
        "docs/guides/scale-out.md",
        "worldpm serve -m MODEL --backend",
        "worldpm serve --dry-run -m MODEL --backend",
        "no engines here; tests/serve has stand-ins for them",
    ),
    Change(
        "docs/guides/ladders.md",
        "params=28198912,data=PAIRS",
        "params=74048,data=$(grep ^10m-60-s0 ladder/observations.csv | cut -d, -f6)",
        "the largest size of the real ladder; PAIRS is read off the row that the page names",
    ),
    Change(
        "docs/guides/recipes.md",
        "\nrecipes/two-arms.sh FILES WORK 25",
        "\nrecipes/two-arms.sh FILES WORK 0 || [ $? -eq 75 ]",
        "hours: all data are made, and the first training stops at once",
    ),
    Change(
        "docs/guides/recipes.md",
        "FILES WORK 25; do [ $? -eq 75 ] || break",
        "FILES WORK 0; do [ $? -eq 75 ] && break",
        "as above; the loop ends where it would go on",
    ),
]
ELSEWHERE = {
    ("docs/guides/rl-trainers.md", "GRPOTrainer("): "tests/rl/test_guide.py, with a tiny policy",
    ("docs/guides/rl-trainers.md", "openrlhf.cli"): "an outside trainer: tests/rl asks as it does",
}
REWARDS = """\
import json, urllib.request
body = {"prompt": "Why?", "responses": ["Because.", "No."]}
with open("rewards.jsonl", "w") as file:
    for text in ("Why?", "How?"):
        request = {**body, "prompt": text}
        sent = urllib.request.Request("http://127.0.0.1:{port}/v1/compare",
            json.dumps(request).encode(), {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(sent))
        file.write(json.dumps({"request": request, "answer": answer}) + "\\n")
"""


def typed(page, blocks, port):
    """The blocks as they are run: without what runs elsewhere, with what is changed."""
    for block in blocks:
        if any(name == page and text in block.text for name, text in ELSEWHERE):
            continue
        text = "\n" + block.text
        for change in CHANGED:
            if fnmatch(page, change.page):
                text = text.replace(change.old, change.new.replace("{port}", str(port)))
        yield replace(block, text=text[1:])


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """A waiting process, our commands on PATH, and a cache with a tiny default model."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("a light install")
    home = tmp_path_factory.mktemp("home")
    with warm(home / "warm") as found:
        place_tools(home / "warm" / "bin")
        found |= {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "WORLDPM_CACHE": str(home / ".cache" / "worldpm"),
            "HF_HUB_OFFLINE": "1",
        }
        found.pop("WORLDPM_API_KEY", None)
        lay_out(home, [".cache/worldpm"], found)
        yield found


def lay_out(folder, names, env):
    """Make stand-ins, in a fork that has torch already."""
    command = ["worldpm-python", str(ROOT / "tests" / "standins.py"), str(folder), *names]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def run(env, tmp_path):
    """Run a page's blocks in a folder of their own."""
    from standins import STAND_INS

    port = free_port()
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "rewards.py").write_text(REWARDS.replace("{port}", str(port)))
    (folder / "docs").mkdir()
    (folder / "docs" / "data").symlink_to(ROOT / "docs" / "data")  # our own tables, for README

    def run_page(page, blocks):
        blocks = list(typed(page, blocks, port))
        lay_out(folder, needed(blocks, STAND_INS), env)
        run_blocks(blocks, folder, {**env, "SERVE_PORT": str(port)})
        return folder

    yield run_page
    stop_server(folder)
    shutil.rmtree(folder)


def pages(slow):
    return [
        page
        for page, blocks in BLOCKS.items()
        if any(block.language in RUN for block in blocks) and (page in SLOW) == slow
    ]


@pytest.mark.parametrize("page", pages(slow=False))
def test_blocks_run(run, page):
    """A page's blocks run, in order, as typed."""
    run(page, BLOCKS[page])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", pages(slow=True))
def test_blocks_that_take_long_run(run, page):
    """The same of pages that train many models."""
    run(page, BLOCKS[page])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\nworldpm score conversations.jsonl --best-of 3\n```", "No such option: --best-of"),
        ("```sh\nworldpm score converzations.jsonl\n```", "converzations.jsonl: no such file"),
        ("```sh\nworldpm scores conversations.jsonl\n```", "No such command 'scores'"),
        ("```sh\nworldpm show nothing || true\nworldpm sh\ntrue\n```", "failed: worldpm sh"),
        ("```sh\npip install 'worldpm[modal]'\n```", "no extra ['modal']"),
        ("```sh\nmake demonstration\n```", "No rule to make target"),
        ("```sh\nworldpm serve --set max_itens=3\n```", "max_items"),
        ("```python\nfrom worldpm import get_scores\n```", "cannot import name 'get_scores'"),
    ],
)
def test_a_wrong_command_is_seen(run, tmp_path, text, said):
    """A flag, file, verb, extra, target, setting or name that does not exist fails its page."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n```sh\nworldpm --version\n```\n\n{text}\n")
    with pytest.raises(BlockError) as raised:
        run("page.md", read_blocks(page, tmp_path))
    assert str(raised.value).startswith("page.md:7: ended with ")
    assert said in str(raised.value)


def test_what_is_not_run_as_typed_is_there():
    """Every entry of the tables speaks of a block that exists, and nothing else is left out."""
    for page, text in ELSEWHERE:
        assert sum(text in block.text for block in BLOCKS[page]) == 1, (page, text)
    for change in CHANGED:
        texts = "\n".join(
            f"\n{block.text}"
            for page, blocks in BLOCKS.items()
            for block in blocks
            if fnmatch(page, change.page)
        )
        assert change.old in texts, change
    used = {
        words[0] for blocks in BLOCKS.values() for block in blocks for words in block.commands()
    }
    assert used >= TOOLS.keys()
    assert BLOCKS.keys() >= SLOW.keys()


@pytest.mark.parametrize("page", BLOCKS)
def test_blocks_are_what_they_say(page, tmp_path):
    """Commands stand in fences of a language we know; JSON and TOML parse."""
    assert unfenced_commands(ROOT / page) == []
    for block in BLOCKS[page]:
        assert block.language in LANGUAGES, block.place
        if block.language == "json":
            parse_json(block)
        if block.language == "toml":
            parse_toml(block, tmp_path / "block.toml")


def parse_json(block):
    """One value, or one a line."""
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for line in block.text.splitlines():
            json.loads(line)


def parse_toml(block, path):
    """A ladder, a server's settings, or a part of a recipe: every key is one of ours."""
    from worldpm.config import load_settings
    from worldpm.scaling.ladder import Ladder
    from worldpm.serve.settings import ServeSettings
    from worldpm.train.recipe import Recipe

    path.write_text(block.text)
    keys = tomllib.loads(block.text).keys()
    kinds = (kind for kind in (Ladder, ServeSettings) if keys <= kind.model_fields.keys())
    assert load_settings(next(kinds, Recipe), path)
