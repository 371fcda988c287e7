"""`serve`: checkpoints -> an HTTP server that trainers, engines and people can ask."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldpm.cli.backing import for_backend, load_backed
from worldpm.cli.common import (
    DtypeOption,
    EngineOption,
    JsonFlag,
    QuietFlag,
    SetOption,
    ThreadsOption,
    print_json,
    say,
)
from worldpm.errors import ConfigError, DataError, WorldPMError

if TYPE_CHECKING:
    from worldpm.records import Comparison, Conversation
    from worldpm.score import Scorer
    from worldpm.serve.models import Measured, ReplyTrace, ServedModel
    from worldpm.serve.settings import ServeSettings
    from worldpm.serve.signing import Signer
    from worldpm.tokens.encode import Encoder

KEY_VARIABLE = "WORLDPM_API_KEY"


def serve(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint folder or Hugging Face id; repeat it to serve several, the first by"
            " default. Without it, the embedded default.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at; other than this machine's needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen at.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that serve, each with the model of its own.")
    ] = 1,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Addresses of vLLM or SGLang engines that have the model's weights, parted by"
            " commas; no weights are loaded here."
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help=f"A file of keys, one a line, any of which opens the server; or {KEY_VARIABLE}."
        ),
    ] = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            help="A file of at least 32 bytes: sign the answers of /v1/score and /v1/compare, so"
            " that they can be audited later."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; docs/guides/serving.md has them.")
    ] = None,
    overrides: SetOption = None,
    dtype: DtypeOption = "auto",
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say with which limits it would serve; serve nothing.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Serve scores over HTTP until SIGTERM or Ctrl-C, which let accepted requests finish."""
    from worldpm.config import load_settings
    from worldpm.serve.run import is_loopback, run
    from worldpm.serve.settings import ServeSettings
    from worldpm.serve.signing import Signer, read_key
    from worldpm.work import processors

    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads} is below 1")
    settings = load_settings(ServeSettings, config, overrides or [])
    settings = settings.model_copy(update={"keys": (*settings.keys, *_keys(key_file))})
    if backend is not None:
        settings = for_backend(settings, models or [], backend)
    if not is_loopback(host) and not settings.keys:
        raise typer.BadParameter(
            f"{host} can be reached from other machines: set a key first ({KEY_VARIABLE} or "
            "--key-file), or listen at 127.0.0.1",
            param_hint="--host",
        )
    signer = None if sign_key is None else Signer(read_key(sign_key))
    if dry_run:
        plan = {"host": host, "port": port, "workers": workers, "key": bool(settings.keys),
                "signed": signer is not None}  # fmt: skip
        plan |= {} if backend is None else {"backend": backend}
        limits = settings.limits()
        if as_json:
            print_json({"dry_run": True, **plan, "limits": limits})
        for name, value in () if as_json else (*plan.items(), *limits.items()):
            print(f"{name} = {value}")
        return
    share = threads or max(1, processors() // workers)
    make = partial(
        make_app, tuple(models or [None]), settings, dtype=dtype, engine=engine, threads=share,
        backend=backend, signer=signer,
    )  # fmt: skip
    say(f"http://{host}:{port} answers once its model is loaded", quiet=quiet)
    run(make, settings, host, port, workers=workers, quiet=quiet)


def make_app(
    models: Sequence[str | None], settings: "ServeSettings", *, dtype: str, engine: str,
    threads: int | None, backend: str | None = None, signer: "Signer | None" = None,
) -> Any:  # fmt: skip
    """The app of these checkpoints; called in every worker."""
    from worldpm.model.hub import told_apart
    from worldpm.serve.app import create_app
    from worldpm.serve.dialects import ROUTES

    if backend is None:
        load = partial(
            load_served, dtype=dtype, engine=engine, threads=threads, max_tokens=settings.max_tokens
        )
        loaded = [load(each, with_digest=signer is not None) for each in models]
    else:
        loaded = [load_backed(models[0], backend, settings.max_tokens)]
    names = [each.name for each in loaded]
    if backend is None:
        names = told_apart(names, models)
        loaded = [replace(each, name=name) for each, name in zip(loaded, names, strict=True)]
    if len(set(names)) < len(names):
        raise ConfigError(f"two models are called the same: {', '.join(names)}; rename a folder")
    return create_app({each.name: each for each in loaded}, settings, ROUTES, signer=signer)


def load_served(
    model: str | None, *, dtype: str = "auto", engine: str = "auto", threads: int | None = None,
    with_digest: bool = False, max_tokens: int | None = None,
) -> "ServedModel":  # fmt: skip
    """A checkpoint as the server takes it; errors as of `worldpm.load`.

    `with_digest` reads every byte of the weights once more, rather than trust what the contract
    says of them. `max_tokens` is a lower limit than the model's own.
    """
    from worldpm.model.checkpoint import weight_files
    from worldpm.model.contract import facts_of, read_contract
    from worldpm.model.fingerprint import weights_sha256
    from worldpm.model.hub import locate
    from worldpm.score import load

    found = locate(model)
    scorer = load(model, dtype=dtype, engine=engine, threads=threads, truncate=True)
    scorer.max_tokens = min(scorer.max_tokens, max_tokens or scorer.max_tokens)
    facts = facts_of(found.folder, scorer.encoder)
    contract = read_contract(found.folder)
    info = {
        "revision": found.commit,
        "weights_sha256": contract and contract.weights_sha256,
        "template_sha256": facts.template_sha256,
        "scored_token": facts.scored_token.text,
        "head": facts.head,
        "stored_dtype": facts.dtype,
        "max_tokens": scorer.max_tokens,
        "engine": scorer.describe(),
        "contract": None if contract is None else contract.format,
    }
    digest = weights_sha256(weight_files(found.folder)) if with_digest else None
    aliases = () if model is None else (model,)
    return replace(served(scorer, info), aliases=aliases, digest=digest)


def served(scorer: "Scorer", info: dict[str, Any] | None = None) -> "ServedModel":
    """A scorer as the server takes it; it must cut what is too long (`truncate`)."""
    from worldpm.serve.models import ServedModel

    assert scorer.truncate, "the server itself refuses what is too long where nobody asked to cut"
    sizes = partial(measure, scorer.encoder, scorer.max_tokens)
    traces = partial(trace_replies, scorer)
    return ServedModel(scorer.name, scorer.score, sizes, info or {}, trace=traces)


def trace_replies(
    scorer: "Scorer", comparisons: Sequence["Comparison"]
) -> Iterator[tuple["ReplyTrace", ...]]:
    """The traces of each comparison's replies: what follows the prompt, whose tokens they share."""
    from worldpm.serve.models import ReplyTrace
    from worldpm.tokens.tree import common_prefix

    for comparison, traces in zip(comparisons, scorer.iter_traces(comparisons), strict=True):
        # Two replies that begin with nothing alike: an empty one's closing tokens are its own.
        probes = [_with_reply(comparison, text) for text in ("", "x")]
        empty, other = scorer.encoder.encode_batch(probes)
        prompt = empty[: common_prefix(empty, other)]
        found = []
        for trace in traces:
            start = common_prefix(prompt[trace.cut_tokens :], trace.ids)
            pieces = scorer.encoder.whole_pieces(trace.ids[start:])
            if not pieces:  # an empty reply that the template does not close is scored all the same
                pieces, start = [""], -1
            found.append(ReplyTrace(tuple(pieces), trace.values[start:]))
        yield tuple(found)


def _with_reply(comparison: "Comparison", text: str) -> "Conversation":
    from worldpm.records import Message

    return (*comparison.prompt, Message("assistant", text))


def measure(encoder: "Encoder", max_tokens: int, comparison: "Comparison") -> "Measured":
    """Token counts of a comparison; DataError for what the template or tokenizer refuses."""
    from worldpm.serve.models import Measured
    from worldpm.tokens.tree import common_prefix

    bare = _with_reply(comparison, "")
    try:
        *sequences, prompt = encoder.encode_batch([*comparison.conversations(), bare])
    except WorldPMError as error:
        raise DataError(str(error)) from None
    cut = tuple(max(0, len(each) - max_tokens) for each in sequences)
    # What is cut at its beginning shares nothing with the others.
    shared = 0 if any(cut) else min(common_prefix(prompt, each) for each in sequences)
    kept = tuple(len(each) - n for each, n in zip(sequences, cut, strict=True))
    return Measured(shared, kept, cut)


def _keys(path: Path | None) -> list[str]:
    from worldpm.serve.settings import is_key

    lines = [os.environ.get(KEY_VARIABLE, "")]
    if path is not None:
        try:
            lines += path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as a file of keys: {error}") from None
    keys = [line.strip() for line in lines if line.strip()]
    if path is not None and not any(map(str.strip, lines[1:])):
        raise DataError(f"{path}: holds no key; write one a line")
    if not all(map(is_key, keys)):
        raise DataError("a key must be printable ASCII without spaces")
    return keys
