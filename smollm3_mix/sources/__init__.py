"""The only reader of source data: finds sources, pins revisions, deals to lanes, reads from a cursor."""

from smollm3_mix.sources.ahead import Ahead, Room
from smollm3_mix.sources.deal import deal, stored
from smollm3_mix.sources.plan import Cursor, File, Part, Plan, Resolved
from smollm3_mix.sources.read import RawBlock, Reader
from smollm3_mix.sources.resolve import resolve

__all__ = [
    "Ahead",
    "Cursor",
    "File",
    "Part",
    "Plan",
    "RawBlock",
    "Reader",
    "Resolved",
    "Room",
    "deal",
    "resolve",
    "stored",
]
