"""Weights spread over processes: FSDP2 layer by layer, and what of a tensor is whose.

    shard(model, recipe, ranks)   every parameter becomes this process's rows of it
    rows_of(parameter)            which rows those are
    whole(tensor)                 all rows again, on every process

Each layer's weights are gathered when it is due, forward and backward, and forgotten after. The
masters and the optimiser's moments are float32 and only ever exist in parts; with bfloat16 products
a layer is gathered in bfloat16, and its gradients are summed in float32.
"""

import warnings

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from worldpm.errors import ConfigError
from worldpm.model.decoder import PreferenceModel
from worldpm.train.parallel import Ranks
from worldpm.train.recipe import Recipe


def shard(model: PreferenceModel, recipe: Recipe, ranks: Ranks) -> None:
    """Spread the parameters of `model` over the processes, in place.

    The embedding and every layer are gathered by themselves, the final norm and the head together.
    Gradients are sums over the processes, as `take_step` divides by the pairs of all of them.
    """
    # Scores are a view, and nobody changes them in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = _mesh(recipe, ranks)
    narrow = torch.bfloat16 if _computes_narrow(recipe) else None
    # The residual stream stays in float32: inputs are not cast.
    layers = MixedPrecisionPolicy(narrow, torch.float32, cast_forward_inputs=False)
    rest = MixedPrecisionPolicy(None, torch.float32, cast_forward_inputs=False)
    fully_shard(model.model.embed_tokens, mesh=mesh, mp_policy=rest)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=layers)
    fully_shard(model, mesh=mesh, mp_policy=rest)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def _computes_narrow(recipe: Recipe) -> bool:
    return recipe.lora.rank == 0 and recipe.model.dtype == "bfloat16"


def _mesh(recipe: Recipe, ranks: Ranks) -> DeviceMesh:
    """All processes in one row, or in a row of replicas for each part (hybrid)."""
    kind = ranks.device.type
    if recipe.parallel.layout == "shard":
        return init_device_mesh(kind, (ranks.world,), mesh_dim_names=("shard",))
    together = recipe.parallel.shard_processes or ranks.local_world
    if ranks.world % together:
        raise ConfigError(
            f"parallel.shard_processes: {together} does not divide the {ranks.world} processes"
        )
    shape = (ranks.world // together, together)
    return init_device_mesh(kind, shape, mesh_dim_names=("replicate", "shard"))


def rows_of(parameter: Tensor) -> slice:
    """The rows (first dimension) of a parameter that this process holds."""
    if not isinstance(parameter, DTensor):
        return slice(None)
    (dim,) = (i for i, place in enumerate(parameter.placements) if isinstance(place, Shard))
    each = -(-parameter.shape[0] // parameter.device_mesh.size(dim))  # as torch.chunk has it
    first = min(each * parameter.device_mesh.get_local_rank(dim), parameter.shape[0])
    return slice(first, first + parameter.to_local().shape[0])


def part_like(parameter: Tensor, rows: Tensor) -> Tensor:
    """`rows`, this process's part, as a tensor spread like `parameter`; or as it is."""
    if not isinstance(parameter, DTensor):
        return rows
    spread: Tensor = DTensor.from_local(
        rows,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
    return spread


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its rows; a meeting of all processes where it is spread over them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
