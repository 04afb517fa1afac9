"""A mix written as Parquet that `load_dataset` opens with no code of ours, resumed after any interruption.

layout     what lies where in the folder, and the lock
parts      one lane written part by part
dropped    what was dropped, beside it
processes  lanes in one process or several
run        all lanes, and the commit
finish     the commit alone, of lanes that several writers wrote
card       the README.md
"""

from smollm3_mix.write.finish import finish
from smollm3_mix.write.processes import Progress
from smollm3_mix.write.run import write

__all__ = ["Progress", "finish", "write"]
