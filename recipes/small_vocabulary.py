"""A vocabulary of a few thousand tokens, learnt from comparisons, for models from random weights.

    python recipes/small_vocabulary.py FORUM... -o VOCABULARY --size 4096
    worldpm scaling run recipes/ladders/small-vocabulary.toml --base VOCABULARY --data FORUM ...

Byte-level BPE with the default base's way of parting text, its control tokens and chat template: of
a small model most parameters would be the base's 49,152 embeddings, most of them seldom met.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from worldpm.model.checkpoint import TOKENIZER_FILES
from worldpm.model.default import fetch_base
from worldpm.records import Comparison
from worldpm.store import read_artifact


def texts(folders: list[Path]) -> Iterator[str]:
    """All that the training parts say."""
    for folder in folders:
        for comparison in read_artifact(folder, Comparison, "train"):
            for conversation in (comparison.prompt, *comparison.replies):
                for message in conversation:
                    yield message.content


def learn(folders: list[Path], base: Path, out: Path, size: int) -> int:
    """Write the tokenizer's files into `out`; how many tokens it has."""
    known = Tokenizer.from_file(str(base / "tokenizer.json"))
    control = list(known.get_added_tokens_decoder().values())
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(control),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    small = Tokenizer(models.BPE())
    small.pre_tokenizer, small.decoder = known.pre_tokenizer, known.decoder
    small.train_from_iterator(texts(folders), trainer)
    small.add_special_tokens(control)
    out.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    small.save(str(out / "tokenizer.json"))
    return int(small.get_vocab_size())


def main() -> None:
    """Learn from the folders that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="folders of comparisons")
    parser.add_argument("-o", "--out", required=True, type=Path, help="the folder to make")
    parser.add_argument("--size", default=4096, type=int, help="tokens, control tokens among them")
    given = parser.parse_args()
    count = learn(given.data, fetch_base(), given.out, given.size)
    print(f"{given.out}: {count:,} tokens")


if __name__ == "__main__":
    main()
