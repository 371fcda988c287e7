"""One optimiser step over token trees: comparisons -> scores -> loss -> gradients -> new weights.

    TreeScorer(model, recipe)(examples, keys)                            -> scores, one a reply
    take_step(scorer, examples, keys, budget, trained, optimizer, recipe) -> the record of the step

The frozen layers below the trained ones run once for each tree, alone, and their output is kept in
memory up to a limit: computed together with others, its bits would depend on which trees shared
the batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldpm.model.batch import collate
from worldpm.model.decoder import PreferenceModel
from worldpm.tokens.pack import pack
from worldpm.train.examples import Example
from worldpm.train.frozen import FrozenLayers
from worldpm.train.measures import Sums, measure, merge, record
from worldpm.train.memory import Recomputing
from worldpm.train.objective import objective, scores_of
from worldpm.train.parallel import ALONE, Ranks, norm_value, share, sum_gradients
from worldpm.train.recipe import Recipe
from worldpm.train.shelf import Shelf, frozen_digest, parts_of

CPU = torch.device("cpu")


@dataclass
class FrozenCache:
    """Outputs of the frozen layers by example, float32, up to `limit` bytes."""

    limit: int
    held: dict[int, Tensor] = field(default_factory=dict)
    size: int = 0

    def get(self, key: int, compute: Callable[[], Tensor]) -> Tensor:
        """The value of `key`, computed when it is not held."""
        if key in self.held:
            return self.held[key]
        value = compute()
        num_bytes = value.numel() * value.element_size()
        if self.size + num_bytes <= self.limit:
            self.held[key] = value
            self.size += num_bytes
        return value


class TreeScorer:
    """Scores examples with the layers above `frozen_layers` open to gradients."""

    def __init__(
        self,
        model: PreferenceModel,
        recipe: Recipe,
        device: torch.device = CPU,
        *,
        sharded: bool = False,
        frozen_cache: Path | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.sharded = sharded  # whose passes are meetings of all processes: nothing is kept
        self.frozen = recipe.model.frozen_layers
        self.cache = FrozenCache(int(recipe.run.frozen_cache_gigabytes * 1e9))
        weights_are_masters = recipe.lora.rank == 0 and recipe.model.dtype == "bfloat16"
        self.autocast = weights_are_masters
        self.recomputing = Recomputing(model.model.config, recipe, device, sharded=sharded)
        self.frozen_layers = FrozenLayers(model, self.frozen, recipe.model.dtype)
        self.shelf: Shelf | None = None
        if frozen_cache is not None and self.frozen and not sharded:
            identity = f"{frozen_digest(model, self.frozen)} {self.frozen_layers.identity}"
            self.shelf = Shelf(frozen_cache, identity)

    def __call__(self, examples: Sequence[Example], keys: Sequence[int]) -> Tensor:
        """Scores (replies of all examples,) in float32 on the processor, in the order given."""
        decoder = self.model.model
        batch = collate([example.tree for example in examples]).to(self.device)
        decoder.recomputes = torch.is_grad_enabled() and self.recomputing(batch)
        if self.sharded:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                return self.model(batch).cpu()  # type: ignore[no-any-return]
        if self.frozen == 0:  # the embeddings may be trained: nothing to keep
            residual = decoder.embed(batch)
        else:
            residual = torch.cat(
                [
                    self.cache.get(key, lambda e=example: self._frozen_layers(e))  # type: ignore[misc]
                    for key, example in zip(keys, examples, strict=True)
                ]
            )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            hidden = decoder.to_leaves(residual, batch, self.frozen)
        return self.model.apply_head(hidden).cpu()

    def _frozen_layers(self, example: Example) -> Tensor:
        if self.shelf is None:
            return self.frozen_layers(example.tree)
        return self.shelf.get(parts_of(example.tree), lambda: self.frozen_layers(example.tree))


def micro_batches(examples: Sequence[Example], keys: Sequence[int], budget: int) -> list[list[int]]:
    """Split the keys of one step into groups under a token budget, each key exactly once."""
    groups = pack([examples[key].tree for key in keys], budget)
    return [[keys[i] for i in group] for group in groups]


def own_batches(
    examples: Sequence[Example], keys: Sequence[int], budget: int, ranks: Ranks
) -> list[list[int]]:
    """The micro-batches of `keys` that are this process's.

    With sharded weights all processes get the same number, the last ones of some without a key.
    """
    sizes = [examples[key].tree.tokens.size for key in keys]
    groups = [
        micro_batches(examples, [keys[i] for i in own], budget) for own in share(sizes, ranks.world)
    ]
    own = groups[ranks.rank]
    return own + [[]] * (max(map(len, groups)) - len(own)) if ranks.sharded else own


def take_step(
    scorer: TreeScorer,
    examples: Sequence[Example],
    keys: Sequence[int],
    budget: int,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """One optimiser step over the comparisons `keys`; a step that is not finite is skipped.

    Several processes share the comparisons; the record is that of all of them together.
    """
    total = sum(examples[key].pairs for key in keys)
    descended = 0.0
    found: list[Sums] = []
    odd: list[str] = []
    for group in own_batches(examples, keys, budget, ranks):
        if not group:  # a pass for the others' sake, of which nothing counts
            least = min(keys, key=lambda key: examples[key].tree.tokens.size)
            (scorer([examples[least]], [least]).sum() * 0.0).backward()  # type: ignore[no-untyped-call]
            continue
        chosen = [examples[key] for key in group]
        outputs = scorer(chosen, group)
        loss = objective(outputs, chosen, recipe.loss) / total
        loss.backward()  # type: ignore[no-untyped-call]
        if not loss.isfinite():
            odd += _not_finite(outputs, chosen)
        descended += float(loss.detach())
        found.append(measure(scores_of(outputs, recipe.loss), chosen))
    sum_gradients(trained.values(), ranks)
    everyone = ranks.gather([descended, merge(found), odd])
    loss_of_all = sum(each[0] for each in everyone)
    seen = record(merge(each[1] for each in everyone))
    norm = norm_value(nn.utils.clip_grad_norm_(trained.values(), recipe.optim.max_grad_norm))
    skipped = not (math.isfinite(loss_of_all) and math.isfinite(norm))
    if not skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if named := [name for each in everyone for name in each[2]]:
        seen["not_finite"] = named
    descent = "squared_error" if recipe.loss.kind == "regression" else "loss_nats"
    return {**seen, descent: loss_of_all, "grad_norm": norm, "step_pairs": total,
            "step_tokens": sum(examples[key].tree.tokens.size for key in keys),
            "skipped": skipped}  # fmt: skip


def _not_finite(outputs: Tensor, examples: Sequence[Example]) -> list[str]:
    """Source and id of the examples with an output that is not finite."""
    parts = torch.split(outputs.detach(), [len(example.tree.leaves) for example in examples])
    pairs = zip(parts, examples, strict=True)
    return [f"{each.source} {each.id}" for part, each in pairs if not part.isfinite().all()]
