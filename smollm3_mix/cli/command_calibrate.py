"""`smollm3-mix calibrate`: tokens in a byte of each source, measured and written into a copy of the recipe."""

import argparse
import dataclasses
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.recipe.shipped import find_recipe
from smollm3_mix.report.calibration import TokenRatio, format_ratio, header, measure_ratios, ratios_table
from smollm3_mix.report.recipe_edits import with_ratios
from smollm3_mix.storage.atomic_files import replace_file
from smollm3_mix.table_format import plain_table
from smollm3_mix.tokenizer import recipe_tokenizer
from smollm3_mix.tokenizer.encoder import Tokenizer

SUMMARY = "Measure tokens in a byte of each source with a tokenizer, and write them into a copy of the recipe."

TOKENIZER = "HuggingFaceTB/SmolLM3-3B"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than the mix options."""
    command.add_argument("--tokenizer", default=TOKENIZER, help="file, folder or Hub repository (default %(default)s)")
    command.add_argument(
        "--samples", type=count_argument, default=2000, metavar="N", help="documents of each source (default 2000)"
    )
    command.add_argument("--out", required=True, metavar="FILE", help="the recipe to write; it must not exist")


def calibrate(options: argparse.Namespace) -> int:
    """Measure, print the table, and write the copy."""
    out = Path(options.out)
    _check_place(out)
    recipe = load_recipe(options.recipe, seed=options.seed, lanes=options.lanes)
    if isinstance(recipe, Curriculum):
        raise RecipeError(recipe.file, ["is a curriculum; calibrate the recipe of each stage"])
    counting = TokenCounting(options.tokenizer)
    path, _ = recipe_tokenizer.find_tokenizer(counting, recipe.folder)
    encoder = Tokenizer(path)
    mix = open_mix(recipe, skip_unreadable=options.skip_unreadable, accept_terms=options.accept_terms)
    with tqdm(total=len(mix.plan.recipe.active), unit="source", desc=recipe.name, disable=None) as bar:
        found = measure_ratios(mix.plan, encoder, options.samples, lambda _: bar.update())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    text = edited(recipe, find_recipe(options.recipe).read_text(encoding="utf-8"), found)
    replace_file(out, (header(recipe, display_name(options.tokenizer), digest, found) + text).encode())
    sys.stdout.write(f"{plain_table(ratios_table(found))}\nWrote {out}. Use it: smollm3-mix plan {out}\n")
    return 0


def _check_place(out: Path) -> None:
    """Nothing, where the file can be written; told before hours of measuring."""
    if out.exists():
        raise OutputError(f"{out} exists. Name a new file with --out, or remove that one.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {out.parent}: {error.strerror}. Name another file with --out.") from error
    if not os.access(out.parent, os.W_OK):
        raise OutputError(f"cannot write in {out.parent}. Name another file with --out.")


def edited(recipe: Recipe, text: str, found: list[TokenRatio]) -> str:
    """The recipe's file with the measured ratios and everything else as it was.

    Where that cannot be (entries that are aliases, or old lists), the recipe is written anew, without its comments.
    """
    values = {each.source: format_ratio(each.value) for each in found}
    wanted = tuple(
        dataclasses.replace(source, tokens_per_byte=float(values.get(source.id, source.tokens_per_byte)))
        for source in recipe.sources
    )
    places = {place: values[source.id] for place, source in enumerate(recipe.sources) if source.id in values}
    changed = with_ratios(text, places)
    return changed if _read(changed) == wanted else dataclasses.replace(recipe, sources=wanted).to_yaml()


def _read(text: str) -> Any:
    """The sources of a recipe's text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path).sources
