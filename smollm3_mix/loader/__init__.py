"""The torch door: `loader`, whose batches do not depend on the number of workers. The only importer of torch.

place    which rank of how many this process is
workers  blocks of records of single lanes, made in worker processes
turns    those blocks put in lane turn, and where each lane stands
batches  the loader itself
"""

import sys
from types import ModuleType
from typing import Any

from smollm3_mix.errors import MissingExtra

try:
    from smollm3_mix.loader.batches import MixLoader, loader
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtra('smollm3_mix.loader needs torch. Type: pip install "smollm3_mix[torch]"') from error

__all__ = ["MixLoader", "loader"]


class _Door(ModuleType):
    """This module, which can be called: `smollm3_mix.loader` names it once something has imported it."""

    def __call__(self, *arguments: Any, **keywords: Any) -> MixLoader:
        return loader(*arguments, **keywords)


sys.modules[__name__].__class__ = _Door
