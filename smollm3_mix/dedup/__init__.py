"""Which documents were seen before: byte for byte (`fingerprints`) or nearly (`signatures`), in bounded memory."""

from smollm3_mix.dedup.dropset import DropSet
from smollm3_mix.dedup.fingerprint import fingerprints
from smollm3_mix.dedup.index import places
from smollm3_mix.dedup.options import Dedup, IndexPlace, Near
from smollm3_mix.dedup.seen import EXACT, FIRST, NEAR, Seen
from smollm3_mix.dedup.signature import agreement, signatures

__all__ = [
    "EXACT",
    "FIRST",
    "NEAR",
    "Dedup",
    "DropSet",
    "IndexPlace",
    "Near",
    "Seen",
    "agreement",
    "fingerprints",
    "places",
    "signatures",
]
