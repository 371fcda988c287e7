"""A checkpoint's tokenizer, template and contract, and engines that have its weights -> a model
that the server can serve.

    load_backed("worldpm-72b", "http://a:8001,http://b:8001")  ->  ServedModel

No weights are loaded here. The engines are tried with the contract's golden conversations first, so
that another model, another head or a sigmoid over the score shows before anybody is answered.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from worldpm.calls import Service
from worldpm.cli.common import say
from worldpm.errors import CheckpointError, ConfigError, ServiceError
from worldpm.records import Comparison, Message

if TYPE_CHECKING:
    from worldpm.model.contract import Contract
    from worldpm.serve.backend import Form
    from worldpm.serve.models import ServedModel
    from worldpm.serve.settings import ServeSettings
    from worldpm.tokens.encode import Encoder

BACKEND_KEY = "WORLDPM_BACKEND_KEY"
BATCH_TOKENS = 65_536  # handed to engines at once, if the settings do not say: they batch anew
# Between a golden score and the engine's, of scores of order one: bfloat16 is promised 0.05, and
# a sigmoid over the score, or another head, differs by more than this in one of six.
WORTH_SAYING, TOO_FAR = 0.05, 0.25


def for_backend(settings: "ServeSettings", models: Sequence[str], urls: str) -> "ServeSettings":
    """The settings with a batch that keeps engines busy, where they say none of their own.

    Raises ConfigError for what is no address, and for several models.
    """
    Service(urls)
    if len(models) > 1:
        raise ConfigError("engines have one model; start a server for each model")
    own = {} if "batch_tokens" in settings.model_fields_set else {"batch_tokens": BATCH_TOKENS}
    return settings.model_copy(update=own)


def load_backed(model: str | None, urls: str, max_tokens: int | None = None) -> "ServedModel":
    """A checkpoint folder or id whose weights the engines at `urls` have.

    `max_tokens` is a lower limit than the model's own.

    Raises CheckpointError where an engine's scores are not the contract's, ServiceError where no
    engine answers; one that does not is left for later.
    """
    from worldpm.cli.serving import measure
    from worldpm.model.checkpoint import read_config
    from worldpm.model.contract import read_contract
    from worldpm.model.hub import locate
    from worldpm.serve.backend import backend, find_form
    from worldpm.serve.models import ServedModel
    from worldpm.tokens.encode import Encoder

    found = locate(model, with_weights=False)
    encoder = Encoder.from_folder(found.folder)
    contract = read_contract(found.folder)
    if contract is not None:
        _check_tokens(contract, encoder, found.folder)
    longest = read_config(found.folder).max_position_embeddings
    max_tokens = min(longest, max_tokens or longest)
    key = os.environ.get(BACKEND_KEY)
    service = Service(urls, key=key, rounds=2, patience_seconds=0.0)  # our clients wait
    ids = encoder.encode((Message("user", "Hello?"), Message("assistant", "Hello.")))
    form, alive = None, 0
    for url in service.urls:
        engine = Service(url, key=key, rounds=1, patience_seconds=0.0)
        try:
            own = find_form(engine, ids)
            if form is not None and own is not form:
                raise CheckpointError(f"{url} speaks {own.name}, another {form.name}; give engines "
                                      "of one kind")  # fmt: skip
            check_golden(engine, own, encoder, contract, url)
        except ServiceError as error:
            say(f"{url} is left for later: {error}")
            continue
        form, alive = own, alive + 1
    if form is None:
        raise ServiceError("no engine answers; start one, or see whether --backend is right")
    info = {
        "revision": found.commit,
        "weights_sha256": contract and contract.weights_sha256,
        "template_sha256": encoder.template.hash,
        "max_tokens": max_tokens,
        "engine": f"{form.name}, {len(service.urls)} of them",
    }
    score = backend(service, form, partial(encode, encoder, max_tokens))
    sizes = partial(measure, encoder, max_tokens)
    # No digest: what weights an engine has is not seen from here, whatever the contract says.
    return ServedModel(found.name, score, sizes, info, () if model is None else (model,))


def encode(encoder: "Encoder", max_tokens: int, comparison: Comparison) -> list[list[int]]:
    """The ids of the K conversations, without the oldest of one that is too long."""
    return [ids[-max_tokens:] for ids in encoder.encode_replies(comparison)]


def _check_tokens(contract: "Contract", encoder: "Encoder", folder: Path) -> None:
    from worldpm.model.contract import token_differences

    differ = token_differences(contract, encoder)
    if contract.facts.template_sha256 != encoder.template.hash:
        differ.insert(0, "the chat template is another")
    if differ:
        raise CheckpointError(f"{folder}: is not what its contract says: {'; '.join(differ)}")


def check_golden(
    engine: Service, form: "Form", encoder: "Encoder", contract: "Contract | None", url: str
) -> None:
    """Hold an engine's scores against the contract's; CheckpointError where they are others."""
    from worldpm.serve.backend import read_scores

    golden = [each for each in contract.golden if each.score is not None] if contract else []
    if not golden:
        say(f"{url}: the checkpoint has no golden scores to try the engine with")
        return
    ids = [encoder.encode(each.messages) for each in golden]
    found = engine.ask(form.path, form.body(ids), partial(read_scores, form, len(ids)))
    for each, value in zip(golden, found, strict=True):
        assert each.score is not None
        away = abs(value - each.score) / max(1.0, abs(each.score))
        if away > TOO_FAR:
            raise CheckpointError(
                f"{url}: scores {value:.4f} where the contract has {each.score:.4f}: the engine "
                "has another model or head, or puts a sigmoid over the score"
            )
        if away > WORTH_SAYING:
            say(f"{url}: scores {value:.4f} where the contract has {each.score:.4f}")
