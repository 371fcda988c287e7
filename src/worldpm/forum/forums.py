"""The forums that are read, and how dumps of each belong together.

    for thread in read_threads("reddit", [Path("RS.zst"), Path("RC.zst")], RedditSettings()): ...

That is the whole stage in one process and one shard, for dumps that are small; `build` does the
same in many shards, and by many processes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from worldpm.errors import ConfigError, DataError
from worldpm.forum import discourse, plain, quora, reddit, stackexchange
from worldpm.forum.archive import member_bytes
from worldpm.forum.finishing import finished
from worldpm.forum.lines import ENDINGS, dump_name
from worldpm.forum.reading import Bucket, ForumSettings, Reading
from worldpm.forum.shards import MAX_SHARDS, Shards, read_shard
from worldpm.records import Thread
from worldpm.store import files_of, size_bytes

# So much text of a dump is joined in memory: half of a shard, which a join holds as well.
HELD_BYTES = 32_000_000
PACKED_RATIO = 6  # JSON under zstd or gzip is about a sixth of its size


def _no_check(paths: Sequence[Path], notes: Mapping[str, int]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Forum:
    """How the dumps of a forum are read."""

    settings: type[ForumSettings]
    scatter: Callable[[Path, Any, Reading, Shards], None]
    join: Callable[[Bucket, Any, Reading], Iterator[Thread]]
    files: Callable[[Path], list[Path]]
    """What is read of a path given."""
    part: Callable[[Path], str] | None = None
    """What a dump is called; None where the rows of a thread may stand in any of the dumps."""
    check: Callable[[Sequence[Path], Mapping[str, int]], None] = _no_check
    """Takes what was noted while all dumps were scattered; raises DataError for what is missing."""
    read_bytes: Callable[[Path], int] = size_bytes
    """How many bytes reading a dump goes through, as it says itself while it reads."""
    num_bytes: Callable[[Path], int] = lambda path: packed_bytes(path)
    """About how much text a file of a dump holds."""
    kept: float = 1.0
    """About which share of it goes to the shards."""


@dataclass(frozen=True, slots=True)
class Group:
    """Dumps that are joined together into one part of the artefact."""

    part: str
    paths: tuple[Path, ...]
    num_shards: int
    held: bool = False
    """Whether its rows are joined in memory, without shards on disk."""


def packed_bytes(path: Path) -> int:
    """About how many bytes a file or folder of JSON or CSV unpacks to."""
    return sum(
        each.stat().st_size * (PACKED_RATIO if each.suffix.lower() in ENDINGS else 1)
        for each in files_of(path)
    )


def _whole(path: Path) -> list[Path]:
    return [path]


def _site_files(path: Path) -> list[Path]:
    if path.suffix.lower() == ".7z":
        return [path]
    folder = path if path.is_dir() else path.parent
    others = (folder / name for name in ("Tags.xml", "Votes.xml"))
    posts = folder / "Posts.xml" if path.is_dir() else path
    if not posts.is_file():
        raise DataError(
            f"{path}: holds no Posts.xml; give sites' archives, {path / '*.7z'}, or a site's folder"
        )
    return [posts, *(each for each in others if each.is_file())]


def _site_bytes(path: Path) -> int:
    if path.suffix.lower() == ".7z":
        sizes = member_bytes(path)
        return sum(sizes.get(f"{table}.xml", 0) for table in ("Posts", "Votes", "Tags"))
    return sum(map(size_bytes, _site_files(path)))


def _posts_bytes(path: Path) -> int:
    """The size of Posts.xml, of which memory depends; Votes.xml are counts only."""
    if path.suffix.lower() == ".7z":
        return member_bytes(path).get("Posts.xml", 0)
    return path.stat().st_size if path.name not in ("Tags.xml", "Votes.xml") else 0


FORUMS: Mapping[str, Forum] = {
    "stackexchange": Forum(
        ForumSettings,
        stackexchange.scatter,
        stackexchange.join,
        _site_files,
        stackexchange.site_name,
        read_bytes=_site_bytes,
        num_bytes=_posts_bytes,
    ),
    "reddit": Forum(
        reddit.RedditSettings,
        reddit.scatter,
        reddit.join,
        reddit.dump_files,
        check=reddit.check_dumps,
        kept=1 / 3,
    ),
    "quora": Forum(quora.QuoraSettings, quora.scatter, quora.join, _whole),
    "discourse": Forum(
        discourse.DiscourseSettings, discourse.scatter, discourse.join, _whole, dump_name
    ),
    "plain": Forum(plain.PlainSettings, plain.scatter, plain.join, _whole, dump_name),
}


def forum_of(name: str) -> Forum:
    """The forum of that name; ConfigError lists those there are."""
    if name not in FORUMS:
        raise ConfigError(f"forum {name!r} is unknown; choose from {', '.join(sorted(FORUMS))}")
    return FORUMS[name]


def group_dumps(name: str, paths: Sequence[Path], settings: ForumSettings) -> list[Group]:
    """The dumps by the part that they make, in an order that is not that of `paths`.

    Raises DataError for what is given twice, and for tables of a site without its posts.
    """
    forum = forum_of(name)
    parts: dict[str, list[Path]] = {}
    if forum.part is None:
        files = {file.resolve(): file for path in paths for file in forum.files(path)}
        parts[name] = sorted(files.values(), key=lambda file: (file.name, str(file)))
    else:
        for path in sorted(paths, key=lambda path: (path.name, str(path))):
            parts.setdefault(forum.part(path), []).append(path)
    for part, found in parts.items():
        tables = [_table(name, path) for path in found]
        if forum.part is not None and len(set(tables)) < len(tables):
            raise DataError(f"{found[-1]}: {part} is given twice; give each dump once")
        if name == "stackexchange" and not any(map(stackexchange.holds_posts, found)):
            raise DataError(
                f"{found[0]}: holds one table of {part}, not its posts; give {part}-Posts.7z too"
            )
    return [_group(forum, part, parts[part], settings) for part in sorted(parts)]


def _group(forum: Forum, part: str, paths: Sequence[Path], settings: ForumSettings) -> Group:
    """A function of the dumps and the settings alone."""
    files = [file for path in paths for file in forum.files(path) if file.exists()]
    size = sum(map(forum.num_bytes, files)) * forum.kept
    num_shards = min(MAX_SHARDS, 1 + int(size / settings.shard_bytes))
    alone = len(paths) == 1 and forum.part is not None
    held = alone and num_shards == 1 and size <= HELD_BYTES
    return Group(part, tuple(paths), num_shards, held)


def _table(name: str, path: Path) -> str:
    """What of a part a dump holds: all of it, or one table of the largest site."""
    if name != "stackexchange" or stackexchange.holds_posts(path):
        return "all"
    return path.name.lower()


def read_threads(
    name: str,
    paths: Sequence[Path],
    settings: ForumSettings | None = None,
    reading: Reading = Reading(),
) -> Iterator[Thread]:
    """Yield the threads of dumps, as `build.build_threads` writes them."""
    forum = forum_of(name)
    settings = settings or forum.settings()
    for group in group_dumps(name, paths, settings):
        notes: Counter[str] = Counter()

        def note(what: str, notes: Counter[str] = notes) -> None:
            notes[what] += 1
            reading.note(what)

        with TemporaryDirectory() as scratch:
            folders = [Path(scratch) / str(number) for number in range(len(group.paths))]
            for folder, path in zip(folders, group.paths, strict=True):
                with Shards(folder, group.num_shards) as shards:
                    forum.scatter(path, settings, replace(reading, note=note), shards)
            forum.check(group.paths, notes)
            for number in range(group.num_shards):
                bucket = Bucket(group.part, read_shard(folders, number), folders)
                yield from finished(forum.join(bucket, settings, reading), settings, reading)
