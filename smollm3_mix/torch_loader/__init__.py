"""Batches of a mix for one rank of a training run."""

from smollm3_mix.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError('smollm3_mix.loader needs torch. Type: pip install "smollm3_mix[torch]"') from error
