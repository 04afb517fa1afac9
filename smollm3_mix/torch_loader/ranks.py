"""Which rank of how many this process is, and one plan for all of them."""

import os
from typing import Any

import torch.distributed

from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.torch_loader.worker_blocks import LaneReadable


def rank_and_world_size(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and world size: as given, else those of torch.distributed, else of RANK and WORLD_SIZE, else 0 and 1.

    Raises:
        ValueError: one is given without the other, or there is no such rank.
    """
    if (rank is None) != (world_size is None):
        raise ValueError(f"give rank and world_size together or neither, got rank={rank}, world_size={world_size}")
    if rank is None or world_size is None:
        if _distributed():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        else:
            rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world_size:
        raise ValueError(f"expected a rank from 0 to world_size - 1, got rank={rank}, world_size={world_size}")
    return rank, world_size


def open_for_rank(
    recipe: Recipe | str | os.PathLike[str] | LaneReadable, *, shared: bool, **fields: Any
) -> LaneReadable:
    """The mix of a recipe, found and pinned by rank 0 for all ranks where `shared`, so that none can differ.

    Raises:
        TypeError: fields are given for a mix that is open.
        MixError: the recipe or its sources cannot be read; on the other ranks as rank 0 found it.
    """
    if not isinstance(recipe, Recipe | str | os.PathLike):
        if fields:
            raise TypeError(f"the mix is open already; give {', '.join(fields)} to open_mix() instead")
        return recipe
    if not shared or not _distributed():
        return open_mix(recipe, **fields)
    found: list[Any] = [None]
    if torch.distributed.get_rank() == 0:
        try:
            found = [open_mix(recipe, **fields)]
        except Exception as error:  # noqa: BLE001 - raised below, on every rank: the others wait for word
            found = [error]
    torch.distributed.broadcast_object_list(found, src=0)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
