"""Layout of a block: the settings of the recipe that placed it. A recipe that continues the block needs them."""

from typing import Any, NamedTuple

from smollm3_mix.errors import StateError
from smollm3_mix.recipe.model import Block, Source
from smollm3_mix.recipe.parsing import FieldPath, plain, read_value
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.clean.cleaning_options import Cleaning


class BlockLayout(NamedTuple):
    """Settings that decide the end of a block, its texts and their order.

    Attributes:
        seed: Seed of the recipe.
        shuffle: Shuffle mode of the recipe.
        block: Block size of the recipe.
        clean: Cleaning of the source.
    """

    seed: int
    shuffle: str
    block: Block
    clean: Cleaning

    @classmethod
    def of(cls, recipe: Recipe, source: Source) -> "BlockLayout":
        """Return the layout of a recipe's blocks of a source."""
        return cls(recipe.seed, recipe.shuffle, recipe.block, source.clean)

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as JSON-able values."""
        return {key: plain(value) for key, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BlockLayout":
        """Return the layout that `to_dict` wrote.

        Raises:
            StateError: If the values are invalid.
        """
        problems: list[str] = []
        clean = read_value(Cleaning, values["clean"], FieldPath(keys="clean"), problems)
        block = read_value(Block, values["block"], FieldPath(keys="block"), problems)
        if problems:
            raise StateError(f"This state is damaged: {', '.join(problems)}. Load a result of state_dict().")
        return cls(values["seed"], values["shuffle"], block, clean)
