"""A mix written as Parquet that `load_dataset` opens with no code of ours, resumed after any interruption.

layout  what lies where in the folder, and the lock
parts   one lane written part by part
run     all lanes, in one process or several, and the commit
card    the README.md
"""

from smollm3_mix.write.run import Progress, write

__all__ = ["Progress", "write"]
