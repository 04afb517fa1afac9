"""How a block was laid, which a recipe that goes on with it must know of the one before."""

from typing import Any, NamedTuple

from smollm3_mix.errors import StateError
from smollm3_mix.recipe.model import Block, Recipe, Source
from smollm3_mix.recipe.parsing import FieldPath, plain, read_value
from smollm3_mix.text.clean.cleaning_options import Cleaning


class BlockLayout(NamedTuple):
    """What decides where a block ends, its texts and their order.

    Attributes:
        seed, shuffle, block: of the recipe.
        clean: of the source.
    """

    seed: int
    shuffle: str
    block: Block
    clean: Cleaning

    @classmethod
    def by(cls, recipe: Recipe, source: Source) -> "BlockLayout":
        """How a recipe lays the blocks of a source."""
        return cls(recipe.seed, recipe.shuffle, recipe.block, source.clean)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return {key: plain(value) for key, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "BlockLayout":
        """What `to_dict` was called on.

        Raises:
            StateError: it is not what `to_dict` gives.
        """
        problems: list[str] = []
        clean = read_value(Cleaning, given["clean"], FieldPath(keys="clean"), problems)
        block = read_value(Block, given["block"], FieldPath(keys="block"), problems)
        if problems:
            raise StateError(f"this state is damaged: {'; '.join(problems)}. Load one that state_dict() gave.")
        return cls(given["seed"], given["shuffle"], block, clean)
