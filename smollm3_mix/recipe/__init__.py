"""What is to be mixed: one YAML file, read strictly into frozen dataclasses, with a fingerprint."""

from smollm3_mix.recipe.counting import Counting
from smollm3_mix.recipe.curriculum import Curriculum, Stage
from smollm3_mix.recipe.files import find, shipped
from smollm3_mix.recipe.model import Block, Holdout, Kind, Recipe, Source
from smollm3_mix.recipe.reading import read, stage_files

__all__ = [
    "Block",
    "Counting",
    "Curriculum",
    "Holdout",
    "Kind",
    "Recipe",
    "Source",
    "Stage",
    "find",
    "read",
    "shipped",
    "stage_files",
]
