"""Why a document is not wanted: rules over measures of a block, with their published thresholds."""

from smollm3_mix.judge.presets import PRESETS
from smollm3_mix.judge.reasons import REASONS
from smollm3_mix.judge.rules import Judge
from smollm3_mix.judge.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition
from smollm3_mix.judge.verdict import judge

__all__ = ["C4", "PRESETS", "REASONS", "Code", "FineWeb", "GopherQuality", "GopherRepetition", "Judge", "judge"]
