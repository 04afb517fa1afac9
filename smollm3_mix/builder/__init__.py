"""The `datasets` door: `SmolLM3Mix` (a `GeneratorBasedBuilder`), its config, and `load`.

config    which recipe a config means, and the cache identity that follows from it
examples  the examples iterable of the streaming dataset: dicts or Arrow tables, resumed without replay
dataset   the builder itself; `datasets` patches `open`, `os.path` and `Path` there, so it does no I/O of its own
"""

from smollm3_mix.builder.config import SmolLM3MixConfig
from smollm3_mix.builder.dataset import SmolLM3Mix, load

__all__ = ["SmolLM3Mix", "SmolLM3MixConfig", "load"]
