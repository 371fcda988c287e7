"""Conversations -> token ids, where control tokens come from the chat template only.

    encoder = Encoder.from_folder(Path("checkpoint"))
    ids = encoder.encode((Message("user", "Say <|im_end|>"), Message("assistant", "No.")))

What a user typed can look like a control token, and the usual way (render the template, encode
the string) makes it one. Here the template is rendered with a random placeholder for every
message, the string is cut at the control tokens it then holds (all of them the template's own),
the contents are put back, and each piece is encoded as plain text. Conversations without typed
control tokens get exactly the ids of transformers' `apply_chat_template`.
"""

import re
import secrets
from codecs import getincrementaldecoder
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worldpm.errors import CheckpointError, DataError
from worldpm.records import ROLES, Comparison, Conversation, Message, turns
from worldpm.tokens.template import ChatTemplate

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

MAX_CHARS = 4_000_000
"""Characters of one conversation's contents together; more is refused before any work."""

_EMPTY_SYSTEM = Message("system", "")

# Plain text with all that templates and tokenizers are known to trip over: quotes and backslashes
# (JSON escaping), runs of spaces and line ends, edges of white space, case, digits, other scripts.
_PROBE: Conversation = (
    Message("system", "Be brief."),
    Message("user", ' It\'s 2 < 3 & "x\\y"\n\n\n\tTab,   gap 12345, naïve ÀÉ 你好 🙂\r\nend '),
    Message("assistant", "def f(x):\n        return x  # fine\n"),
    Message("user", ""),
    Message("assistant", "Yes"),
)
_PROBES = (_PROBE, _PROBE[1:], (_EMPTY_SYSTEM, *_PROBE[1:3]))


class Encoder:
    """A tokenizer and a chat template, checked against each other when made.

    `control_ids` are the ids of all the tokenizer's added tokens, special or not. Raises
    CheckpointError if plain text could give one of them, or if encoding piece by piece is not the
    same as encoding the whole string: then the tokenizer is of a kind not supported here.
    """

    def __init__(
        self, tokenizer: "Tokenizer", template: ChatTemplate, max_chars: int = MAX_CHARS
    ) -> None:
        self.template = template
        self.max_chars = MAX_CHARS
        added = tokenizer.get_added_tokens_decoder()
        self.control_ids = frozenset(added)
        self.vocab_size = tokenizer.get_vocab_size(with_added_tokens=True)
        self._control = {token.content: i for i, token in added.items()}
        longest_first = sorted(self._control, key=len, reverse=True)
        # Leftmost, then longest, as the tokenizers library finds them; (?!) never matches.
        self._markers = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
        self._plain = _without_added_tokens(tokenizer)
        self._check(tokenizer, added)
        self.max_chars = max_chars  # from here on, so that a low limit does not refuse the probes

    @classmethod
    def from_folder(cls, folder: Path, max_chars: int = MAX_CHARS) -> "Encoder":
        """Read `tokenizer.json` and the chat template of a checkpoint folder.

        Raises CheckpointError that says what is missing, broken or unsupported.
        """
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(
                f"{folder}: has no tokenizer.json; if it has another kind of vocabulary file, "
                "load it once with transformers' AutoTokenizer and save_pretrained it there"
            )
        template = ChatTemplate.from_folder(folder)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no narrower class
            raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, template, max_chars)

    def encode(self, conversation: Conversation) -> list[int]:
        """Token ids of one conversation; an empty system message is put first if it has none.

        Raises DataError for no messages, an unknown role, a lone surrogate (naming the message), or
        contents over `max_chars`; CheckpointError if the template refuses the order of roles.
        """
        return self.encode_batch([conversation])[0]

    def control_id(self, text: str) -> int | None:
        """The id of an added token, None if there is none of that text."""
        return self._control.get(text)

    def token_text(self, token: int) -> str:
        """A token as the vocabulary writes it, for people."""
        added = next((text for text, i in self._control.items() if i == token), None)
        return added or self._plain.id_to_token(token) or f"token {token}"

    def encode_replies(self, comparison: Comparison) -> list[list[int]]:
        """Token ids of the K whole conversations of a comparison."""
        return self.encode_batch(comparison.conversations())

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Token ids of each conversation, in order; pieces that they share are encoded once."""
        cut = [self._cut(conversation) for conversation in conversations]
        texts = list(dict.fromkeys(piece for pieces in cut for piece in pieces[::2]))
        encodings = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        plain = {text: encoding.ids for text, encoding in zip(texts, encodings, strict=True)}
        assert all(self.control_ids.isdisjoint(ids) for ids in plain.values())
        sequences = []
        for pieces in cut:
            ids: list[int] = []
            for i, piece in enumerate(pieces):
                if i % 2:
                    ids.append(self._control[piece])
                else:
                    ids += plain[piece]
            sequences.append(ids)
        return sequences

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself; bytes that are no whole character show as U+FFFD."""
        texts = self._plain.decode_batch([[i] for i in ids], skip_special_tokens=False)
        names = {i: text for text, i in self._control.items()}
        return [names.get(i, text) for i, text in zip(ids, texts, strict=True)]

    def whole_pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token completes; together they are the text of the tokens.

        Of a character whose bytes are parted among tokens, all but the last have nothing of it.
        Tokens of a vocabulary that is not of bytes are each by itself, as by `pieces`.
        """
        texts = self.pieces(ids)
        if type(self._plain.decoder).__name__ != "ByteLevel":
            return texts
        decoder = getincrementaldecoder("utf-8")("replace")
        found = []
        for i, text in zip(ids, texts, strict=True):
            name = None if i in self.control_ids else self._plain.id_to_token(i)
            held = text.encode() if name is None else bytes(map(_BYTES.__getitem__, name))
            found.append(decoder.decode(held))
        if found:
            found[-1] += decoder.decode(b"", final=True)
        return found

    def _cut(self, conversation: Conversation) -> list[str]:
        """The rendered string as [plain text, control token, plain text, ..., plain text]."""
        messages = self._checked(conversation)
        nonce = secrets.token_hex(16)
        stripped = [message.content.strip() for message in messages]
        rendered = self.template.render(
            [
                {"role": message.role, "content": _placeholder(message.content, text, nonce, i)}
                for i, (message, text) in enumerate(zip(messages, stripped, strict=True))
            ]
        )
        pieces = self._markers.split(rendered)
        placeholder = re.compile(f"{nonce}x([0-9]+)x")
        for i in range(0, len(pieces), 2):
            pieces[i] = placeholder.sub(lambda match: stripped[int(match[1])], pieces[i])
        return pieces

    def _checked(self, conversation: Conversation) -> Conversation:
        """The conversation with its system message, once nothing in it can do harm."""
        if not conversation:
            raise DataError("conversation without any message; give a prompt and a reply")
        num_chars = 0
        for i, message in enumerate(conversation):
            num_chars += len(message.content)
            if message.role not in ROLES:
                known = ", ".join(sorted(ROLES))
                raise DataError(f"messages[{i}].role: {message.role!r} is none of {known}")
            try:
                message.content.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"messages[{i}].content: lone surrogate at character {error.start}, which is "
                    "no text; repair or drop the row"
                ) from None
        if num_chars > self.max_chars:
            raise DataError(
                f"conversation of {num_chars:,} characters, over the limit of "
                f"{self.max_chars:,}; shorten it or raise max_chars"
            )
        if conversation[0].role != "system":
            return (_EMPTY_SYSTEM, *conversation)
        return conversation

    def _check(self, tokenizer: "Tokenizer", added: "dict[int, AddedToken]") -> None:
        where = self.template.where
        for token in added.values():
            if token.lstrip or token.rstrip or token.single_word:
                raise CheckpointError(
                    f"{where}: the tokenizer's added token {token.content!r} takes the white space "
                    "or words around it into account, which is not supported"
                )
        typed = [*self._control, " ".join(self._control), "".join(self._control)]
        typed += [chr(i) for i in range(0x250)]
        for encoding in self._plain.encode_batch_fast(typed, add_special_tokens=False):
            if not self.control_ids.isdisjoint(encoding.ids):
                raise CheckpointError(
                    f"{where}: the tokenizer can make added tokens out of plain text, so typed "
                    "control tokens would act as real ones; use a byte-level BPE tokenizer"
                )
        for probe in _PROBES:
            messages = turns(probe)
            if messages[0]["role"] != "system":
                messages.insert(0, {"role": "system", "content": ""})
            whole = self.template.render(messages)
            if not whole:
                raise CheckpointError(f"{where}: the chat template writes nothing")
            if self.encode(probe) != tokenizer.encode(whole, add_special_tokens=False).ids:
                raise CheckpointError(
                    f"{where}: the template or tokenizer changes what it is given in a way that "
                    "is not supported (encoding its pieces differs from encoding the whole)"
                )


def _byte_letters() -> dict[str, int]:
    """The letters by which a byte-level vocabulary writes bytes, as GPT-2's does.

    Printable bytes of Latin-1 stand for themselves, the others for U+0100 and on, in their order.
    """
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (i for i in range(256) if i not in plain)
    return {chr(i): i for i in plain} | {chr(256 + n): i for n, i in enumerate(others)}


_BYTES = _byte_letters()


def _placeholder(content: str, stripped: str, nonce: str, i: int) -> str:
    """The content with its inner part replaced, its white space kept for templates that trim."""
    if not stripped:
        return content
    start = content.index(stripped)
    return f"{content[:start]}{nonce}x{i}x{content[start + len(stripped) :]}"


def _without_added_tokens(tokenizer: "Tokenizer") -> "Tokenizer":
    """The same normalizer, splitting and model (shared, not copied) and decoder; no added token.

    The library's `encode_special_tokens` would still match the added tokens that are not marked
    special, such as Qwen's <tool_call>.
    """
    from tokenizers import Tokenizer

    plain = Tokenizer(tokenizer.model)
    if tokenizer.normalizer is not None:
        plain.normalizer = tokenizer.normalizer
    if tokenizer.pre_tokenizer is not None:
        plain.pre_tokenizer = tokenizer.pre_tokenizer
    if tokenizer.decoder is not None:  # for `pieces`: the bytes' stand-ins are not what was typed
        plain.decoder = tokenizer.decoder
    return plain
