"""The dedup index: which rows of all sources are duplicates, found once, before any lane is read.

units    pass one: the keys of the documents of a part of a file
decide   pass two: of a range of keys, who is not the first
build    both passes, in one process or several, and what they leave
upload   what they leave, at a URL

Every unit of work is a plain function of one picklable argument that leaves one whole file, or none.
"""

from smollm3_mix.index.build import Built, build_index

__all__ = ["Built", "build_index"]
