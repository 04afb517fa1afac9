"""The old tool, over the mix: rows drawn by weight or source after source, judged, and saved as `datasets` saves.

rows    the kept texts, and what became of every row drawn
merger  DatasetMerger: the same in Python, with the old log lines
saved   the folder that `load_from_disk` opens, and the Hub
"""

from smollm3_mix.legacy.merger import DatasetMerger

__all__ = ["DatasetMerger"]
