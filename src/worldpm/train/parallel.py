"""One process or many: who computes what of a step, and what they tell each other.

    with joined(recipe.parallel) as ranks:      # torchrun's variables; alone without them
        share([tokens of a step's comparisons], ranks.world)[ranks.rank]   -> the ones that are mine
        ranks.gather({"loss": 1.5})                                        -> one value a process

Which process computes what is a pure function of the step, so nothing is said about it. Gradients
are sums over the processes, never means: a step's loss is divided by the pairs of all of them.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from worldpm.errors import ConfigError
from worldpm.train.recipe import ParallelSettings

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Ranks:
    """Process `rank` of `world`; alone it is 0 of 1.

    With `sharded` every pass through the model is a meeting of all processes, so all of them must
    make the same number of passes.
    """

    rank: int = 0
    world: int = 1
    sharded: bool = False
    local_world: int = 1  # processes of this node
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """What every process gave, by rank; values that JSON can hold, numbers with all digits."""
        if self.world == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([own.numel()]))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: own.numel()] = own
        found = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(found, padded)
        return [
            json.loads(text[: int(size)].numpy().tobytes())
            for text, size in zip(found, sizes, strict=True)
        ]

    def barrier(self) -> None:
        """Wait for all."""
        self.gather(None)


ALONE = Ranks()


def share(sizes: Sequence[int], world: int) -> list[list[int]]:
    """Deal items of these sizes out to `world` processes, about evenly; indices, in their order.

    The largest goes first, each to whoever has least so far.

    >>> share([5, 1, 4, 2], 2)
    [[0, 1], [2, 3]]
    """
    held = [0] * world
    shares: list[list[int]] = [[] for _ in range(world)]
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        least = held.index(min(held))
        held[least] += sizes[index]
        shares[least].append(index)
    return [sorted(each) for each in shares]


def sum_gradients(trained: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Give every process the sum of all gradients, in place; sharded ones are summed already."""
    if ranks.world == 1 or ranks.sharded:
        return
    for parameter in trained:
        if parameter.grad is None:  # this process had no comparison
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)


def norm_value(norm: Tensor) -> float:
    """A gradient norm as a number; that of sharded parameters is spread over the processes."""
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def check_launch(world: int) -> None:
    """Raise ConfigError where there are several processes, but nothing says how they meet."""
    if world > 1 and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"WORLD_SIZE is {world}, but nothing says how the processes meet; start them with "
            "torchrun, or unset WORLD_SIZE"
        )


@contextmanager
def met(backend: str, timeout: timedelta | None = None) -> Iterator[None]:
    """torchrun's processes as one group of torch's, for the time of the block.

    With a `timeout` a process waits that long for the others, rather than torch's half an hour.
    """
    # torchrun's store outlives a restart; without a prefix of this one's, gloo was seen to call
    # processes at the addresses of the dead.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    limit: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    store, rank, world = next(rendezvous("env://", **limit))
    if timeout is not None:
        store.set_timeout(timeout)
    store = PrefixStore(f"worldpm/{attempt}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def joined(settings: ParallelSettings) -> Iterator[Ranks]:
    """The processes that torchrun started, met for the time of the block; alone without it.

    They meet over gloo, and over NCCL for what is on GPUs. Raises ConfigError where something says
    that there are several, but not how they meet.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:  # whatever the layout: there is nobody to share with
        yield ALONE
        return
    check_launch(world)
    device, backend = CPU, "gloo"
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    near = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    with met(backend):
        yield Ranks(dist.get_rank(), world, settings.layout != "replicate", near, device)
