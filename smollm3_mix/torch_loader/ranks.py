"""Rank and world size of this process, and one resolved mix for all ranks."""

import os
import sys
from typing import Any, Protocol

from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.options import MixOptions
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike
from smollm3_mix.torch_loader.worker_blocks import LaneReadable


class DeviceMesh(Protocol):
    """A one-dimensional mesh of data-parallel replicas, such as `mesh["dp"]` of a torch `DeviceMesh`."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""

    def get_local_rank(self) -> int:
        """Return the rank of this process in the mesh."""

    def size(self) -> int:
        """Return the number of ranks."""


def rank_and_world_size(rank: int | None, world_size: int | None, device_mesh: DeviceMesh | None) -> tuple[int, int]:
    """Return rank and world size.

    Explicit values come first, then a device mesh, torch.distributed, RANK and WORLD_SIZE, and 0 and 1.

    Raises:
        ValueError: If only one value is given, the rank is out of range, or the mesh has several dimensions.
    """
    if (rank is None) != (world_size is None):
        raise ValueError(f"rank and world_size must be given together, got rank={rank}, world_size={world_size}.")
    if device_mesh is not None:
        if rank is not None:
            raise ValueError("Pass either device_mesh or rank and world_size.")
        if device_mesh.ndim != 1:
            raise ValueError(
                f"device_mesh must have one dimension, got {device_mesh.ndim}. "
                "Pass the dimension of the data-parallel replicas, such as mesh['dp']."
            )
        rank, world_size = device_mesh.get_local_rank(), device_mesh.size()
    if rank is None or world_size is None:
        distributed = _distributed()
        if distributed is not None:
            rank, world_size = distributed.get_rank(), distributed.get_world_size()
        else:
            rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to world_size - 1, got rank={rank}, world_size={world_size}.")
    return rank, world_size


def open_for_rank(mix: RecipeLike | LaneReadable, *, shared: bool, options: MixOptions) -> LaneReadable:
    """Open a mix. With `shared`, rank 0 resolves the sources for all ranks, so that they cannot differ.

    Raises:
        TypeError: If there are options for a mix that is already open.
        MixError: If the recipe or its sources cannot be read. All ranks raise the error of rank 0.
    """
    if not isinstance(mix, AnyRecipe | str | os.PathLike):
        if options:
            names = ", ".join(options)
            raise TypeError(
                f"Cannot override {names} of a mix that is already open. Pass {names} to open_mix() instead."
            )
        return mix
    distributed = _distributed() if shared else None
    if distributed is None:
        return open_mix(mix, **options)
    found: list[Any] = [None]
    if distributed.get_rank() == 0:
        try:
            found = [open_mix(mix, **options)]
        except Exception as error:  # noqa: BLE001 - raised below on every rank, because the others wait
            found = [error]
    distributed.broadcast_object_list(found, src=0)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _distributed() -> Any:
    """Return torch.distributed if this process has initialized it, else None. Does not import torch."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed
