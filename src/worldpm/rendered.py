"""A string that a chat template wrote -> its messages again; what was typed in them stays text.

    read_rendered("<|im_start|>user\\nWhy?<|im_end|>\\n<|im_start|>assistant\\nSo.<|im_end|>")
    ->  (Message("user", "Why?"), Message("assistant", "So."))

Only the exact seam between two turns parts them; a control token anywhere else is text that
somebody typed, and is encoded as text. A seam that was typed cannot be told from a real one, so
the order of roles is checked, and `read_sample` takes all that follows a known prompt as one
message: with it nothing that a policy writes can open a turn.
"""

import re
from dataclasses import dataclass
from functools import cache

from worldpm.errors import DataError
from worldpm.records import Conversation, Message, Role


class StructureError(DataError):
    """A text that is no conversation of a chat template, or whose turns are in no real order."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a family of chat templates writes turns; `ends` may follow the last one."""

    name: str
    head: str  # up to the role's name
    neck: str  # from there to the content
    close: str
    between: str
    begin: str = ""  # may stand once before the first turn
    ends: tuple[str, ...] = ()


GRAMMARS = (
    Grammar("ChatML", "<|im_start|>", "\n", "<|im_end|>", "\n", ends=("<|endoftext|>",)),
    Grammar(
        "Llama 3", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "",
        begin="<|begin_of_text|>", ends=("<|end_of_text|>",),
    ),
    Grammar(
        "Gemma", "<start_of_turn>", "\n", "<end_of_turn>", "\n", begin="<bos>", ends=("<eos>",)
    ),
)  # fmt: skip
_ENDS = (*(end for g in GRAMMARS for end in (g.close, *g.ends)), "</s>")
ROLE_OF: dict[str, Role] = {
    "system": "system", "user": "user", "assistant": "assistant", "model": "assistant",
}  # fmt: skip


def grammar_of(text: str) -> Grammar | None:
    """The grammar that a text begins in, None for a text that no template wrote."""
    return next((g for g in GRAMMARS if text.removeprefix(g.begin).startswith(g.head)), None)


def read_rendered(text: str) -> Conversation:
    """The messages of a whole rendered conversation, the assistant's last.

    Raises StructureError for a text that no template wrote and for turns in an order that no
    conversation has.
    """
    messages, _ = _turns(text, _grammar(text))
    if messages[-1].role != "assistant":
        raise StructureError(
            f"the last turn is the {messages[-1].role}'s; a reply is needed to be scored"
        )
    return messages


def read_sample(prompt: str, rest: str) -> tuple[Conversation, Conversation]:
    """(the messages of a rendered prompt, what a policy wrote after it, as one message).

    The tokens that ended the reply are left out; what the prompt began of it is put before it. A
    prompt that no template wrote is the user's message. Raises StructureError for its turns.
    """
    grammar = grammar_of(prompt)
    if grammar is None:
        end = next((end for end in _ENDS if rest.endswith(end)), "")
        return (Message("user", prompt),), (Message("assistant", rest.removesuffix(end)),)
    messages, closed = _turns(prompt, grammar)
    begun = ""
    if messages[-1].role == "assistant":
        if closed:
            raise StructureError("the prompt must end where the assistant's reply begins")
        begun = messages[-1].content
        messages = messages[:-1]
    reply, _ = _unended(rest, grammar)
    return messages, (Message("assistant", begun + reply),)


def _grammar(text: str) -> Grammar:
    grammar = grammar_of(text)
    if grammar is None:
        known = ", ".join(f"{g.head} ({g.name})" for g in GRAMMARS)
        raise StructureError(
            f"no conversation in a chat template's form: it begins with none of {known}; give "
            "messages, or a prompt and its reply"
        )
    return grammar


def _turns(text: str, grammar: Grammar) -> tuple[Conversation, bool]:
    """The messages, and whether the last is closed."""
    pieces = _seam(grammar).split(text.removeprefix(grammar.begin).removeprefix(grammar.head))
    first, neck, content = pieces[0].partition(grammar.neck)
    if not neck:
        raise StructureError("the first turn has no content")
    named = [(first, content), *zip(pieces[1::2], pieces[2::2], strict=True)]
    last, closed = _unended(named[-1][1], grammar)
    named[-1] = (named[-1][0], last)
    messages: list[Message] = []
    for i, (name, words) in enumerate(named):
        role = ROLE_OF.get(name)
        if role is None:
            raise StructureError(f"turn {i} is of an unknown role; known are {', '.join(ROLE_OF)}")
        messages.append(Message(role, words))
    _check_order(messages)
    return tuple(messages), closed


@cache
def _seam(grammar: Grammar) -> re.Pattern[str]:
    """From the end of one turn to the content of the next, the role as its group."""
    return re.compile(
        re.escape(grammar.close + grammar.between + grammar.head)
        + r"([a-z_]{1,32})"
        + re.escape(grammar.neck)
    )


def _unended(text: str, grammar: Grammar) -> tuple[str, bool]:
    """Without what ends the last turn, once each (<|im_end|>, the line's end, <|endoftext|>).

    And whether the turn's own close was there.
    """
    for end in grammar.ends:
        text = text.removesuffix(end)
    line = text.removesuffix(grammar.between) if grammar.between else text
    return (line.removesuffix(grammar.close), True) if line.endswith(grammar.close) else (
        text, False
    )  # fmt: skip


def _check_order(messages: list[Message]) -> None:
    before: Role | None = None
    for i, message in enumerate(messages):
        if message.role == "system" and i:
            raise StructureError(f"turn {i} is the system's, which can only be the first")
        if message.role == before:
            raise StructureError(f"turns {i - 1} and {i} are both the {before}'s")
        if message.role == "assistant" and before in (None, "system"):
            raise StructureError(f"turn {i} is the assistant's, and nobody asked before it")
        before = message.role
