"""Loading script for `datasets` < 4.

`load_dataset("smollm3_mix.py", "stage2", split="train", streaming=True, trust_remote_code=True)` streams the live mix.

It needs the package of the same name (`pip install smollm3_mix`, or a clone on the path) and only names its builder:
`import smollm3_mix` always means the package. `datasets` ≥ 4 runs no scripts ("Dataset scripts are no longer
supported"). There, call `smollm3_mix.load("stage2")`, or import smollm3_mix and then load a recipe folder.
"""

from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.builder.mix_config import SmolLM3MixConfig

__all__ = ["SmolLM3Mix", "SmolLM3MixConfig"]
