"""Batches as dicts of torch tensors. The only module of the loader that imports torch."""

from typing import Any

import numpy as np

from smollm3_mix.errors import MissingExtraError

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError(
        'MixLoader(format="torch") needs torch. Install it: pip install "smollm3_mix[torch]"',
        package="torch",
        extra="torch",
    ) from error


def to_tensors(columns: dict[str, Any], *, pin_memory: bool) -> dict[str, Any]:
    """Return the arrays of a batch as tensors. Lists stay lists."""
    return {name: _to_tensor(column, pin_memory=pin_memory) for name, column in columns.items()}


def _to_tensor(column: Any, *, pin_memory: bool) -> Any:
    if not isinstance(column, np.ndarray):
        return column
    tensor = torch.from_numpy(column)
    return tensor.pin_memory() if pin_memory else tensor
