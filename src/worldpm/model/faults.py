"""Faults in a checkpoint's files and weights, all of them and not only the first.

    check_files(folder)         ->  checks, and the weight files that can be read
    check_weights(places, ...)  ->  checks: the head, names and shapes, values

Loading stops at the first fault, as it should; `worldpm model doctor` goes on.
"""

import pickletools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import HEADS, all_finite, head_kind, read_json
from worldpm.model.config import ModelConfig
from worldpm.model.contract import DTYPE_NAMES
from worldpm.model.decoder import PreferenceModel, linear_head, mlp_head
from worldpm.model.fingerprint import Stored, read_header

State = Literal["ok", "warn", "fail"]
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
MAX_TEXT_PICKLE = 1 << 20  # the oldest protocols have no mark; larger files are not parsed for them
MAX_NAMED = 4
FETCH_AGAIN = "fetch or copy the checkpoint again"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do unless it is well."""

    section: str
    name: str
    state: State
    found: str
    advice: str | None = None


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def check_files(folder: Path) -> tuple[list[Check], list[Path]]:
    """(checks of pickles, code, index and shards; the weight files that can be read)."""
    found = [_check_pickles(folder), _check_code(folder)]
    named, complaints = _named_files(folder)
    found += complaints
    readable, headers = [], {}
    for path in named:
        try:
            headers[path.name] = read_header(path)
            readable.append(path)
        except CheckpointError as error:
            found.append(Check("files", "shard", "fail", str(error), FETCH_AGAIN))
    if readable:
        size = sum(path.stat().st_size for path in readable)
        text = f"{len(readable)} of {len(named)} readable, {size / 1e6:,.1f} MB"
        found.append(Check("files", "weights", "ok", text))
    found += _check_index(folder, headers)
    names = {path.name for path in named}
    others = sorted(p.name for p in folder.glob("*.safetensors") if p.name not in names)
    if others:
        advice = "remove them, or mend the index if they belong to the model"
        found.append(Check("files", "weights", "warn", f"never read: {some(others)}", advice))
    return found, readable


def _check_pickles(folder: Path) -> Check:
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and is_pickle(path)
    )
    if not names:
        return Check("files", "pickles", "ok", "none")
    return Check(
        "files", "pickles", "fail", some(names),
        "remove them: worldpm never opens them, other programs run whatever they say",
    )  # fmt: skip


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, or holds one, by its name or its content; nothing is run."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        return True
    try:
        return _looks_pickled(path)
    except OSError:  # what cannot be read is a fault of its own where it matters
        return False


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(8)
        # A safetensors file begins with the length of its header, which may look the same.
        if begin[:1] == b"\x80" and begin[1:2] in b"\2\3\4\5" and begin[4:] != b"\0\0\0\0":
            return True
        if zipfile.is_zipfile(path):
            return _holds_pickle(path)
        if begin[:1] in b"{[" or path.stat().st_size > MAX_TEXT_PICKLE:
            return False
        data = begin + file.read()
    if len(data) < 4 or not data.endswith(b"."):
        return False
    try:
        *_, (_, _, position) = pickletools.genops(data)
    except Exception:  # bytes that are no pickle fail in every way there is
        return False
    return position == len(data) - 1


def _holds_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _check_code(folder: Path) -> Check:
    names = sorted(path.name for path in folder.glob("*.py"))
    if not names:
        return Check("files", "code", "ok", "none")
    return Check(
        "files", "code", "warn", f"{some(names)}: never run here",
        "read it before you let another program trust it",
    )  # fmt: skip


def _named_files(folder: Path) -> tuple[list[Path], list[Check]]:
    """The weight files that the checkpoint says it has and that exist, with complaints."""
    if not (folder / INDEX).is_file():
        if (folder / SINGLE).is_file():
            return [folder / SINGLE], []
        text = f"no {SINGLE} and no {INDEX}"
        return [], [Check("files", "weights", "fail", text, "only safetensors are read")]
    try:
        weight_map = read_json(folder / INDEX).get("weight_map")
    except CheckpointError as error:
        return [], [Check("files", "index", "fail", str(error), FETCH_AGAIN)]
    if not isinstance(weight_map, dict) or not weight_map:
        return [], [Check("files", "index", "fail", f"{INDEX} has no weight_map", FETCH_AGAIN)]
    files, complaints = [], []
    for name in sorted({str(value) for value in weight_map.values()}):
        path = folder / name
        if not name.endswith(".safetensors"):
            text, advice = f"names {name}, which is no safetensors file", "only those are read"
        elif path.parent != folder:
            text, advice = f"names {name}, outside of the folder", "do not trust this checkpoint"
        elif not path.is_file():
            text, advice = f"names {name}, which is not there", FETCH_AGAIN
        else:
            files.append(path)
            continue
        complaints.append(Check("files", "index", "fail", text, advice))
    return files, complaints


def _check_index(folder: Path, headers: Mapping[str, Mapping[str, Stored]]) -> Iterator[Check]:
    """The index against the shards that could be read."""
    if not (folder / INDEX).is_file() or not headers:
        return
    weight_map = read_json(folder / INDEX)["weight_map"]
    lost = sorted(
        tensor
        for tensor, name in weight_map.items()
        if str(name) in headers and tensor not in headers[str(name)]
    )
    if lost:
        text = f"puts {some(lost)} into files that do not hold them"
        yield Check("files", "index", "fail", text, FETCH_AGAIN)
    elif {str(name) for name in weight_map.values()} == headers.keys():
        yield Check("files", "index", "ok", f"{len(weight_map)} tensors in {len(headers)} files")


def check_weights(
    places: Mapping[str, Stored], config: ModelConfig | None, *, complete: bool
) -> Iterator[Check]:
    """The head, names and shapes against `config`, kinds of number, and values.

    `complete` says that all files could be read, so that what is missing is really missing.
    """
    kind = head_kind(places)
    known = kind in HEADS.values()
    if known:
        yield Check("weights", "head", "ok", str(kind))
    elif complete:
        yield Check(
            "weights", "head", "fail", f"no scalar head that we know (found: {kind or 'none'})",
            "a plain language model cannot score, train it first; a head lost on the way must come "
            "from the original",
        )  # fmt: skip
    if config is not None:
        yield from _check_shapes(places, config, kind if known else None, complete=complete)
    yield from _check_values(places)


def _check_shapes(
    places: Mapping[str, Stored], config: ModelConfig, kind: str | None, *, complete: bool
) -> Iterator[Check]:
    with torch.device("meta"):
        size = config.hidden_size
        head = mlp_head(size) if kind == "mlp" else linear_head(size, bias=kind != "linear")
        state = PreferenceModel(config, head).state_dict()
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if kind is not None or not name.startswith("score.")
    }
    found = {
        name: place.shape
        for name, place in places.items()
        if kind is not None or not name.startswith("score.")
    }
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(found.keys() - expected.keys())
    turned: list[str] = []
    wrong: list[str] = []
    for name in sorted(expected.keys() & found.keys()):
        if found[name] == expected[name]:
            continue
        text = f"{name} is {found[name]}, config.json asks for {expected[name]}"
        (turned if found[name] == expected[name][::-1] else wrong).append(text)
    if missing and complete:
        advice = f"{FETCH_AGAIN}; a bias that config.json asks for is not optional"
        yield Check("weights", "names", "fail", f"missing: {some(missing)}", advice)
    if unknown:
        advice = "config.json may be that of another model"
        yield Check("weights", "names", "fail", f"unknown: {some(unknown)}", advice)
    if turned:
        advice = "transpose them back: weights are stored (outputs, inputs)"
        yield Check("weights", "shapes", "fail", f"transposed: {some(turned)}", advice)
    if wrong:
        advice = "config.json may be that of another model"
        yield Check("weights", "shapes", "fail", some(wrong), advice)
    if not (missing or unknown or turned or wrong):
        text = f"{len(expected)} tensors, as config.json asks for"
        yield Check("weights", "shapes", "ok", text)


def _check_values(places: Mapping[str, Stored]) -> Iterator[Check]:
    kinds = sorted({place.dtype for place in places.values()} - DTYPE_NAMES.keys())
    for kind in kinds:
        names = [name for name, place in places.items() if place.dtype == kind]
        advice = "give bfloat16 or float32 weights"
        yield Check("weights", "dtype", "fail", f"{kind} in {some(names)}", advice)
    bad, zero = [], []
    for path in sorted({place.file for place in places.values()}):
        with safe_open(path, framework="pt") as file:
            for name in (name for name, place in places.items() if place.file == path):
                if places[name].dtype not in DTYPE_NAMES:
                    continue
                tensor = file.get_tensor(name)
                if not all_finite(tensor):
                    count = int((~tensor.isfinite()).sum())
                    bad.append(f"{name} in {path.name} ({count:,} of {tensor.numel():,})")
                elif name.endswith("weight") and name.startswith("score.") and not tensor.any():
                    zero.append(name)
    if bad:
        advice = f"{FETCH_AGAIN}; if the original has them too, its training diverged"
        yield Check("weights", "values", "fail", f"not finite: {some(bad)}", advice)
    elif places and not kinds:
        count = sum(place.num_values for place in places.values())
        yield Check("weights", "values", "ok", f"{count:,}, all finite")
    if zero:
        advice = "every reply gets the same score; was it trained?"
        yield Check("weights", "head", "warn", f"all zero: {some(zero)}", advice)
