"""A data set on the Hugging Face hub -> its authors' own files on this disk.

    fetch_set("helpsteer2", "nvidia/HelpSteer2")  ->  HubSet(folder, id, commit)

The files come as they were published, by an allow-list for each set, and are read by the same
readers as a download by hand: nothing that a repository holds is ever run, and the manifest names
the commit and the files' hashes. HF_HUB_OFFLINE, HF_HOME and HF_TOKEN act as everywhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import DataError
from worldpm.pairs.published import ABOUT

HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class HubSet:
    """A set from the hub: the folder of its files, its id and the commit that they are of."""

    folder: Path
    id: str
    commit: str


def hub_name(src: str) -> tuple[str, str | None] | None:
    """(id, revision) if `src` is no path that exists but may be on the hub; else None."""
    match = HUB_ID.fullmatch(src)
    if match is None or Path(src).expanduser().exists():
        return None
    return match["id"], match["revision"]


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
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise DataError(
            f'{called}: no such file or folder; to have it from the hub, pip install "worldpm[hub]"'
        ) from None
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                hub_id, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
            )
        )
    except errors.GatedRepoError:
        reason = "its owner asks you to accept terms on the hub first; do so and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        reason = "the hub has no such data set, or it is private and HF_TOKEN is not set"
    except errors.RevisionNotFoundError:
        reason = f"the data set has no revision {revision!r}"
    except errors.LocalEntryNotFoundError:
        reason = (
            "HF_HUB_OFFLINE is set and it is not in the cache"
            if huggingface_hub.constants.HF_HUB_OFFLINE
            else "the hub cannot be reached and it is not in the cache; give a folder"
        )
    except Exception as error:  # the libraries beneath have many classes and no common one
        text = (str(error).strip().splitlines() or ["no reason given"])[0]
        reason = f"{type(error).__name__}: {text}"
    else:
        if not any(each.is_file() for each in folder.rglob("*")):
            raise DataError(
                f"{called}: holds none of {', '.join(patterns)}; is it a copy of {name} in "
                "another form? download it and import it as pairs"
            )
        return HubSet(folder, hub_id, folder.name)
    raise DataError(
        f"{called}: no such file or folder, and it could not be had from the Hugging Face hub: "
        f"{reason}"
    )
