"""A data set on the Hugging Face hub -> its authors' own files on this disk.

    fetch_set("helpsteer2", "nvidia/HelpSteer2")  ->  HubSet(folder, id, commit)

The files come as they were published, by an allow-list for each set, and are read by the same
readers as a download by hand: nothing that a repository holds is ever run, and the manifest names
the commit and the files' hashes. HF_HUB_OFFLINE, HF_HOME and HF_TOKEN act as everywhere.
"""

from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import DataError
from worldpm.hub import HubError, parse_hub_id, snapshot
from worldpm.pairs.published import ABOUT


@dataclass(frozen=True, slots=True)
class HubSet:
    """A set from the hub: the folder of its files, its id and the commit that they are of."""

    folder: Path
    id: str
    commit: str


def hub_name(src: str) -> tuple[str, str | None] | None:
    """(id, revision) if `src` is no path that exists but may be on the hub; else None."""
    found = parse_hub_id(src)
    return found if found and not Path(src).expanduser().exists() else None


def fetch_set(name: str, hub_id: str, revision: str | None = None) -> HubSet:
    """The files of the set `name` in the hub's data set `hub_id`, from the cache or the network.

    Raises DataError if they cannot be had, saying why, and if the set's form is not on the hub.
    """
    called = f"{hub_id}@{revision}" if revision else hub_id
    patterns = ABOUT[name].hub_files
    if not patterns:
        raise DataError(
            f"{called}: no such file or folder, and {name} is not read from the hub; give the "
            f"files as published at {ABOUT[name].url}"
        )
    try:
        folder = snapshot(hub_id, revision, kind="data set", patterns=patterns)
    except ImportError:
        raise DataError(
            f'{called}: no such file or folder; to have it from the hub, pip install "worldpm[hub]"'
        ) from None
    except HubError as error:
        raise DataError(f"{called}: no such file or folder, and {error}") from None
    if not any(each.is_file() for each in folder.rglob("*")):
        raise DataError(
            f"{called}: holds none of {', '.join(patterns)}; is it a copy of {name} in "
            "another form? download it and import it as pairs"
        )
    return HubSet(folder, hub_id, folder.name)
