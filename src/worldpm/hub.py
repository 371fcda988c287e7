"""A name on the Hugging Face hub -> the files of it that are asked for, in a folder of its cache.

    parse_hub_id("Qwen/WorldPM-72B@1a2b3c4")                -> ("Qwen/WorldPM-72B", "1a2b3c4")
    snapshot("org/name", None, kind="model", patterns=(...)) -> a folder named by its commit

HF_HUB_OFFLINE, HF_HOME and HF_TOKEN act as everywhere.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")


class HubError(Exception):
    """Why the hub's files could not be had, for the sentence of the caller's own error."""


def parse_hub_id(text: str) -> tuple[str, str | None] | None:
    """(owner/name, revision or None) if `text` can name something on the hub."""
    match = _ID.fullmatch(text)
    return (match["name"], match["revision"]) if match else None


def snapshot(
    name: str,
    revision: str | None,
    *,
    kind: Literal["model", "data set"],
    patterns: Sequence[str],
    not_wanted: Sequence[str] = (),
) -> Path:
    """The folder of the files that match `patterns`; raises HubError, and ImportError for want of
    the hub's client.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                repo_type=kind.replace(" ", ""),
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(not_wanted),
            )
        )
    except errors.GatedRepoError:
        reason = "its owner asks you to accept terms on the hub first; do so and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        reason = f"the hub has no such {kind}, or it is private and HF_TOKEN is not set"
    except errors.RevisionNotFoundError:
        reason = f"the hub's {kind} has no revision {revision!r}"
    except errors.LocalEntryNotFoundError:
        reason = (
            "HF_HUB_OFFLINE is set and it is not in the cache"
            if huggingface_hub.constants.HF_HUB_OFFLINE
            else "the hub cannot be reached and it is not in the cache; give a folder"
        )
    except Exception as error:  # the libraries beneath have many classes and no common one
        text = (str(error).strip().splitlines() or ["no reason given"])[0]
        reason = f"{type(error).__name__}: {text}"
    raise HubError(f"it could not be had from the Hugging Face hub: {reason}")
