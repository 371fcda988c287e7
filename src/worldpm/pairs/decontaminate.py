"""Comparisons that hold a benchmark's text: an index of the benchmarks, and a search in it.

    write_index([("llmbar", comparison), ...], DecontaminateSettings(), folder)
    index = Index(folder)
    index.search(comparison)    # [Hit(where="reply 2", benchmark="llmbar", row="7", ...)]

Three kinds of hit, after case, punctuation and markup are gone (`shingles`):

- `ngram`: a post holds a run of 13 words of a benchmark's prompt or reply (13 is the length of
  GPT-3's check, Brown et al. 2020, appendix C), also cut, re-cased, or in a code block;
- `whole`: a post, or the title, is a benchmark's text of fewer words;
- `near`: the comparison as a whole holds half of the rare three-word runs of a benchmark's text:
  typos, and a text split over two posts.

A run that is in the texts of many prompts (a wrapper, a boilerplate import) or that is hardly of
words (a matrix, counting to 13) is evidence of nothing and is left out of the index.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from worldpm.config import Settings
from worldpm.jsonfiles import read_object
from worldpm.pairs.arrays import read_array, write_array
from worldpm.pairs.shingles import Hashes, ngrams, telling, text_hash, word_hashes
from worldpm.records import Comparison
from worldpm.store import write_atomic

Kind = Literal["ngram", "whole", "near"]
NEAR_WORDS = 3
NEAR_SAMPLE = 64  # runs of a text that are looked for: the smallest hashes; more would say no more
NEAR_LEAST = 6  # fewer rare runs in common cannot be told from chance


class DecontaminateSettings(Settings):
    """What is taken for a benchmark's text, with `--against`. The paper states no such step."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    drop: bool = True
    """Leave contaminated comparisons out; if not, they are in the report only."""
    ngram_words: int = Field(default=13, ge=5)
    """A run of so many words of a benchmark is a hit."""
    least_words: int = Field(default=6, ge=1)
    """A benchmark's text of fewer words than these is never looked for: `thank you` is nobody's."""
    near: float = Field(default=0.5, gt=0, le=1)
    """The share of a benchmark text's rare three-word runs in a comparison that is a hit."""
    common: int = Field(default=10, ge=2)
    """A run of words in texts of as many different prompts, or more, is nobody's."""


class Hit(NamedTuple):
    """A text of a benchmark found in a comparison."""

    source: str
    id: str
    where: str
    """`title`, `prompt`, `reply 2`, or `comparison` for what is spread over it."""
    benchmark: str
    row: str
    of: str
    """Where in the benchmark's row the text is: `prompt`, `reply 0`."""
    kind: Kind
    overlap: float
    """The share of the benchmark's text that was found, of those runs that are looked for."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a benchmark: `prompt` numbers the prompt that it belongs to."""

    name: tuple[str, str, str]
    prompt: int
    hashes: Hashes


_NOTHING = _Text(("", "", ""), 0, np.empty(0, np.uint64))


def write_index(
    rows: Iterable[tuple[str, Comparison]], settings: DecontaminateSettings, folder: Path
) -> dict[str, int]:
    """Index the comparisons of benchmarks, by name; returns how many rows each has.

    Takes some 100 bytes for each word of the benchmarks' distinct texts while it is made.
    """
    counts: Counter[str] = Counter()
    texts = list(_texts(rows, settings, counts))
    shorter = [n for n, each in enumerate(texts) if len(each.hashes) < settings.ngram_words]
    whole = {text_hash([texts[number].hashes]): number for number in reversed(shorter)}
    _write_runs(
        folder, "whole", np.array(sorted(whole), np.uint64), list(map(whole.get, sorted(whole)))
    )
    runs, owners = _runs(texts, settings.ngram_words, settings.common)
    first = np.append(True, runs[1:] != runs[:-1]) if len(runs) else np.empty(0, bool)
    _write_runs(folder, "ngram", runs[first], owners[first])
    num_ngrams = np.bincount(owners[first], minlength=len(texts))
    # A saying of eight words is quoted by many: a short text is looked for as a whole alone.
    longer = [each if len(each.hashes) >= settings.ngram_words else _NOTHING for each in texts]
    runs, owners, sampled = _sample(*_runs(longer, NEAR_WORDS, settings.common), len(texts))
    _write_runs(folder, "near", runs, owners)
    entries = [
        [*each.name, int(found), int(some)]
        for each, found, some in zip(texts, num_ngrams, sampled, strict=True)
    ]
    values = {"settings": settings.model_dump(mode="json"), "texts": entries, "rows": counts}
    write_atomic(folder / "index.json", orjson.dumps(values, option=orjson.OPT_SORT_KEYS))
    return dict(counts)


class Index:
    """Benchmarks as `write_index` left them; the arrays stay on disk and are shared."""

    def __init__(self, folder: Path) -> None:
        values = read_object(folder / "index.json")
        self.settings = DecontaminateSettings.model_validate(values["settings"])
        self.num_rows: dict[str, int] = values["rows"]
        self._texts: list[Any] = values["texts"]
        self._runs = {kind: _read_runs(folder, kind) for kind in ("whole", "ngram", "near")}

    def search(self, comparison: Comparison) -> list[Hit]:
        """All texts of benchmarks in the comparison, the surest kind of hit for each place."""
        size, found = self.settings.ngram_words, dict[tuple[str, int], tuple[Kind, float]]()
        runs = []
        for where, words in _places(comparison):
            if len(words) < size:
                for number in self._look("whole", np.array([text_hash([words])], np.uint64)):
                    found[where, number] = ("whole", 1.0)
            if where in _PARTS:
                continue
            runs.append(ngrams(words, NEAR_WORDS))
            for number, count in self._count("ngram", ngrams(words, size)).items():
                found[where, number] = ("ngram", count / self._texts[number][3])
        known = {number for _, number in found}
        for number, count in self._count("near", np.concatenate(runs)).items():
            total = self._texts[number][4]
            if number not in known and count >= max(NEAR_LEAST, self.settings.near * total):
                found["comparison", number] = ("near", count / total)
        return [
            Hit(comparison.source, comparison.id, where, benchmark, row, of, kind, overlap)
            for (where, number), (kind, overlap) in found.items()
            for benchmark, row, of in [self._texts[number][:3]]
        ]

    def _count(self, kind: Kind, runs: Hashes) -> Counter[int]:
        """How many different runs there are of each text."""
        return Counter(self._look(kind, np.unique(runs)))

    def _look(self, kind: Kind, runs: Hashes) -> list[int]:
        """The texts that own these runs, once for each run."""
        known, owners, begins = self._runs[kind]
        # Of a run that is not known the first bits rarely are: one look instead of a search.
        runs = runs[begins[runs >> np.uint64(64 - _bits(len(begins)))]]
        if not len(runs):
            return []
        start = np.searchsorted(known, runs, side="left")
        there = known[np.minimum(start, len(known) - 1)] == runs
        start = start[there]
        end = np.searchsorted(known, runs[there], side="right")
        return [int(owners[n]) for a, b in zip(start, end, strict=True) for n in range(a, b)]


def _texts(
    rows: Iterable[tuple[str, Comparison]], settings: DecontaminateSettings, counts: Counter[str]
) -> Iterator[_Text]:
    """The distinct texts of the rows, under the first name that each has."""
    seen: set[int] = set()
    prompts: dict[int, int] = {}
    for benchmark, row in rows:
        counts[benchmark] += 1
        asked = [word_hashes(message.content) for message in row.prompt]
        prompt = prompts.setdefault(text_hash(asked), len(prompts))
        places = [
            *(("prompt", hashes) for hashes in asked),
            *(
                (f"reply {number}", word_hashes(message.content))
                for number, reply in enumerate(row.replies)
                for message in reply
            ),
        ]
        for where, hashes in places:
            key = text_hash([hashes])
            if len(hashes) >= settings.least_words and key not in seen:
                seen.add(key)
                yield _Text((benchmark, row.id, where), prompt, hashes)


def _runs(texts: list[_Text], size: int, common: int) -> tuple[Hashes, NDArray[np.int32]]:
    """The runs of all texts but those of many prompts, sorted, each with the text it is from."""
    found = [np.unique(ngrams(each.hashes, size)[telling(each.hashes, size)]) for each in texts]
    runs = np.concatenate([*found, np.empty(0, np.uint64)])
    owners = np.repeat(np.arange(len(texts), dtype=np.int32), [len(each) for each in found])
    prompts = np.array([each.prompt for each in texts], np.int32)[owners]
    order = np.lexsort((owners, prompts, runs))
    runs, owners, prompts = runs[order], owners[order], prompts[order]
    # By run: how many prompts it is below. A new one begins where the run or the prompt changes.
    starts = np.append(True, runs[1:] != runs[:-1])[: len(runs)]
    begins = starts | np.append(True, prompts[1:] != prompts[:-1])[: len(runs)]
    which = np.cumsum(starts) - 1
    spread = np.bincount(which[begins], minlength=which[-1] + 1 if len(which) else 0)
    rare = (spread < common)[which] if len(which) else np.empty(0, bool)
    runs, owners = runs[rare], owners[rare]
    order = np.lexsort((owners, runs))
    return runs[order], owners[order]


def _sample(
    runs: Hashes, owners: NDArray[np.int32], num_texts: int
) -> tuple[Hashes, NDArray[np.int32], NDArray[np.int64]]:
    """The smallest runs of each text that has enough of them, and how many it has then."""
    order = np.lexsort((runs, owners))
    counts = np.bincount(owners, minlength=num_texts)
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - starts[owners[order]]
    kept = order[(place < NEAR_SAMPLE) & (counts[owners[order]] >= NEAR_LEAST)]
    kept = np.sort(kept)
    sampled = np.where(counts >= NEAR_LEAST, np.minimum(counts, NEAR_SAMPLE), 0)
    return runs[kept], owners[kept], sampled


_PARTS = ("title", "body")


def _places(comparison: Comparison) -> Iterator[tuple[str, Hashes]]:
    """Where a text may be, and what is there; a question's title and body also by themselves."""
    for message in comparison.prompt:
        words = word_hashes(message.content)
        yield "prompt", words
        title, _, body = message.content.partition("\n\n")
        if title.startswith("Title: "):
            yield _PARTS[0], word_hashes(title.removeprefix("Title: "))
            if body:
                yield _PARTS[1], word_hashes(body)
    for number, reply in enumerate(comparison.replies):
        for message in reply:
            yield f"reply {number}", word_hashes(message.content)


def _write_runs(folder: Path, kind: Kind, runs: Hashes, owners: Any) -> None:
    write_array(folder / f"{kind}.runs.npy", runs)
    write_array(folder / f"{kind}.owners.npy", np.asarray(owners, np.int32))
    # Which first bits there are, so many that an eighth of them are at most.
    bits = min(28, max(10, (8 * len(runs)).bit_length()))
    begins = np.zeros(1 << bits, np.bool_)
    begins[runs >> np.uint64(64 - bits)] = True
    write_array(folder / f"{kind}.begins.npy", begins)


def _read_runs(folder: Path, kind: str) -> tuple[Hashes, NDArray[np.int32], NDArray[np.bool_]]:
    runs, owners, begins = (
        # Plain arrays over the mapped bytes: indexing those is much faster than a memmap's.
        np.asarray(read_array(folder / f"{kind}.{name}.npy"))
        for name in ("runs", "owners", "begins")
    )
    return runs, owners, begins


def _bits(count: int) -> int:
    return count.bit_length() - 1
