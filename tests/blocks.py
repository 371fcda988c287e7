"""A page's fenced blocks, and the running of them as a reader would: in order, in one folder.

    blocks = read_blocks(page)                       every fence with its language and line
    run_blocks(blocks, folder, env)                  BlockError with page, line and what was said

Before that, `needed(blocks, names)` says which stand-ins the blocks take for granted: the names
that stand in a command and are not made by an earlier one.
"""

import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

FENCE = re.compile(r"^( *)(```+|~~~+) *([\w-]*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
RUN = {"sh", "python"}
# Every line must succeed; where one does not, it is named.
PRELUDE = "set -eE -o pipefail; trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n"
SECONDS = 240
INTO = {"-o", "--out", "-out", ">", "--output"}


class BlockError(AssertionError):
    """A block that does not do what a reader would expect of it."""


@dataclass(frozen=True)
class Block:
    """One fence: where it stands, what it is, and its lines."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """As editors name it."""
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterable[list[str]]:
        """The words of each command of a shell block, comments and line ends taken out."""
        if self.language == "sh":
            for line in self.text.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield words


def read_blocks(page: Path, root: Path) -> list[Block]:
    """Every fence of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            str(page.relative_to(root)), text.count("\n", 0, found.start()) + 1, found[3],
            re.sub(rf"^{found[1]}", "", found[4], flags=re.MULTILINE),
        )
        for found in FENCE.finditer(text)
    ]  # fmt: skip


def unfenced_commands(page: Path) -> list[str]:
    """Lines of indented code that look like commands: they belong into a fence."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    start = r"\$ |worldpm |python |pip |make |torchrun |curl |export |import |from \w+ import "
    return re.findall(rf"^    (?:{start}).*$", text, re.MULTILINE)


def needed(blocks: Sequence[Block], names: Iterable[str]) -> list[str]:
    """Which of the names are to be there before the first block runs."""
    found, made = set(), set()
    longest_first = sorted(names, key=len, reverse=True)
    for block in blocks:
        parts = block.commands() if block.language == "sh" else [[block.text]]
        for words in parts if block.language in RUN else ():
            outputs = {after for word, after in pairwise(words) if word in INTO}
            inputs = " ".join(
                word for word in words[2 if words[0] == "worldpm" else 0 :] if word not in outputs
            )
            for name in longest_first:
                mention = rf"(?<![\w/.-]){re.escape(name)}(?![\w=-]|\.\w)"
                if re.search(mention, inputs):
                    inputs = re.sub(mention, "", inputs)  # data/sub is no mention of data
                    if not any(f"{name}/".startswith(f"{each}/") for each in made):
                        found.add(name)
            if "--dry-run" not in words:
                made |= {each.rstrip("/") for each in outputs}
    # What stands below another is made first: makers of folders leave it where it is.
    return sorted(found, key=lambda name: (-name.count("/"), name))


def run_blocks(blocks: Iterable[Block], folder: Path, env: dict[str, str]) -> None:
    """Run the shell and Python blocks in order; BlockError at the first that fails."""
    for block in blocks:
        if block.language in RUN:
            run_block(block, folder, env)


def run_block(block: Block, folder: Path, env: dict[str, str]) -> str:
    """Run one; what it printed."""
    if block.language == "python":
        path = folder / f".block-{block.line}.py"
        path.write_text(block.text, encoding="utf-8")
        command = ["worldpm-python", str(path)]
    else:
        command = ["bash", "-c", PRELUDE + block.text]
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BlockError(f"{block.place}: still running after {SECONDS} s\n{block.text}") from None
    if done.returncode:
        said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise BlockError(f"{block.place}: ended with {done.returncode}\n{block.text}\n{said}")
    return done.stdout
