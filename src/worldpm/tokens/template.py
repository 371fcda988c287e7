"""A checkpoint folder -> its chat template; messages -> the string that the model reads.

    template = ChatTemplate.from_folder(Path("checkpoint"))
    template.render([{"role": "system", "content": ""}, {"role": "user", "content": "Hi"}])

Renders as transformers does (the tests compare the two), without importing it. Nothing in the
string tells typed text from control tokens: to get token ids, use `worldpm.tokens.encode`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from worldpm.errors import CheckpointError
from worldpm.jsonfiles import read_object

MAX_TEMPLATE_BYTES = 64 * 1024
"""Longest template accepted; released ones stay under 10 KB."""

TEMPLATE_FILE = "chat_template.jinja"
CONFIG_FILE = "tokenizer_config.json"

# The empty system block is there in every string (released README: "system marker is preserved"),
# and the score is read at <|endoftext|>, so it stands once, at the very end.
WORLDPM_TEMPLATE = """\
{%- if not messages or messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\n<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}
    {{- '<|endoftext|>' if loop.last else '\\n' }}
{%- endfor %}
"""
"""The template of WorldPM's own checkpoints: ChatML, an empty system block, a closing token."""

_SPECIAL_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


class ChatTemplate:
    """One Jinja template, compiled, with the special tokens it may name as variables.

    `special_tokens` maps "bos_token" and its like to their text. Raises CheckpointError for a
    template over 64 KB or not valid as Jinja; `where` names it in messages.
    """

    def __init__(
        self,
        text: str,
        special_tokens: Mapping[str, str] | None = None,
        where: str = "chat template",
    ) -> None:
        num_bytes = len(text.encode("utf-8", "surrogatepass"))
        if num_bytes > MAX_TEMPLATE_BYTES:
            raise CheckpointError(
                f"{where}: the chat template has {num_bytes:,} bytes, over the limit of "
                f"{MAX_TEMPLATE_BYTES:,}; use a checkpoint whose template you trust"
            )
        self.text = text
        self.special_tokens = dict(special_tokens or {})
        self.where = where
        try:
            self._compiled = _environment().from_string(text)
        except (TemplateError, RecursionError) as error:
            raise CheckpointError(
                f"{where}: the chat template is not valid Jinja: {error}"
            ) from None

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplate":
        """Read `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json`.

        Of several named templates, the one named "default". Raises CheckpointError if there is
        none, or if the files cannot be read.
        """
        config = _read_json(folder / CONFIG_FILE)
        special = _special_tokens(config, _read_json(folder / "special_tokens_map.json"))
        path = folder / TEMPLATE_FILE
        if path.is_file():
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{path}: cannot be read: {error}") from None
            return cls(text, special, str(path))
        path = folder / CONFIG_FILE
        found = config.get("chat_template")
        if isinstance(found, list):
            named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
            found = named.get("default")
            if found is None and named:
                names = ", ".join(sorted(str(name) for name in named))
                raise CheckpointError(
                    f"{path}: has chat templates named {names} but no 'default'; save the one to "
                    f"use as {TEMPLATE_FILE} beside it"
                )
        if not isinstance(found, str):
            raise CheckpointError(
                f"{folder}: has no chat template; put {TEMPLATE_FILE} there, or 'chat_template' "
                f"into its {CONFIG_FILE}"
            )
        return cls(found, special, str(path))

    @property
    def hash(self) -> str:
        """SHA-256 of the template's text, in hex: part of a checkpoint's contract."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The string of a conversation, its messages as {"role", "content"} mappings.

        Raises CheckpointError if the template refuses them.
        """
        try:
            return self._compiled.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=False,
                **self.special_tokens,
            )
        except Exception as error:  # a template is a program: whatever it raises is its own fault
            roles = ", ".join(message["role"] for message in messages)
            raise CheckpointError(
                f"{self.where}: the chat template cannot render messages of the roles {roles}: "
                f"{error}"
            ) from None


def _environment() -> ImmutableSandboxedEnvironment:
    """The dialect of Jinja that chat templates are written in.

    `strftime_now` is left undefined: a score must not depend on today's date, and the templates
    that know the function fall back to a fixed date of their own.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _GenerationTag],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment


class _GenerationTag(Extension):
    """Reads `{% generation %}...{% endgeneration %}`, a mark for training, as what it encloses."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own convention

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes <, > and & for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _special_tokens(*sources: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens' text; the first source that has one wins."""
    found: dict[str, str] = {}
    for source in sources:
        for name in _SPECIAL_TOKENS:
            token = source.get(name)
            if isinstance(token, dict):  # a serialised AddedToken
                token = token.get("content")
            if isinstance(token, str):
                found.setdefault(name, token)
    return found


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} if there is no such file."""
    return read_object(path, CheckpointError) if path.is_file() else {}
