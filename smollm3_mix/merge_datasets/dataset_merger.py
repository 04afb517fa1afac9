"""The old tool's class: the same names, meaning and log lines."""

import logging
import os
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from smollm3_mix.errors import RecipeError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.row_draws import Outcome, RowDraws
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import find_recipe

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

log = logging.getLogger("smollm3_mix")

LANGUAGES = {"en": "english", "eng": "english", "vi": "vietnamese", "vie": "vietnamese"}
"""First part of a language tag → the list of the old tool that such a source belongs to."""

Listener = Callable[[str, int, int | None], None]
"""Called with what is being read, its rows drawn so far, and its limit in rows."""


class DatasetMerger:
    """Sources merged into one list of texts: by seeded draws with their weights, or one after another.

    Draws are made for each row, before it is judged, as `datasets.interleave_datasets` makes them: shares hold for rows
    drawn, on average only. `smollm3_mix.load` and `smollm3-mix write` give exact token shares of what comes out.

    Args:
        config_path: a recipe file, a shipped name, or one of the old tool's file names (see `recipe.find`).
        use_weights: refuse a recipe without weights.
        skip_unreadable: go on over the sources that can be read; the rest are logged.
        token: of the Hub; default: the one that is logged in.
        on_progress: called as the work goes on.

    Attributes:
        recipe: as read.
        draws: what the last merge drew, None before the first.

    Raises:
        RecipeError: the recipe is missing or has faults.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] = "datasets_config.yaml",
        use_weights: bool = False,
        *,
        skip_unreadable: bool = False,
        token: str | bool | None = None,
        on_progress: Listener | None = None,
    ) -> None:
        log.info("Loading configuration from %s", config_path)
        self.recipe = load_recipe(config_path, use_weights=use_weights)
        path = find_recipe(config_path)
        if path.name != os.path.basename(config_path):  # noqa: PTH119 - what the user typed need not be a path
            log.info("No such file; taking the shipped %s", path.name)
        if use_weights:
            log.info("Weighted sampling enabled")
        self.draws: RowDraws | None = None
        self._config, self._skip, self._token = config_path, skip_unreadable, token
        self._on_progress = on_progress or (lambda *_: None)

    def merge_all_datasets_weighted(self, max_samples: int | None = None, seed: int | None = None) -> list[str]:
        """Kept texts of all sources, by draws with their weights. A source that ends starts again.

        Args:
            max_samples: rows to draw, dropped ones included; default: until every source has been read through once.
            seed: of the draws; default: the recipe's, 42 where it names none.

        Raises:
            RecipeError: the recipe has no weights.
            UnreadableSourcesError, SourceExhaustedError, SourceError: as the mix raises them.
        """
        return [text for texts in self.weighted(max_samples, seed) for text in texts.to_pylist()]

    def merge_all_datasets(
        self,
        include_english: bool = True,
        include_vietnamese: bool = True,
        max_samples_per_dataset: int | None = None,
    ) -> list[str]:
        """Kept texts of one source after another, in the recipe's order; weights are not used.

        Args:
            include_english: with False, Vietnamese sources only.
            include_vietnamese: with False, English sources only.
            max_samples_per_dataset: rows to read of each source, dropped ones included.

        Raises:
            RecipeError: no source is left.
            UnreadableSourcesError, SourceError: as the mix raises them.
        """
        found = self.concatenated(include_english, include_vietnamese, max_samples_per_dataset)
        return [text for texts in found for text in texts.to_pylist()]

    def weighted(self, max_samples: int | None = None, seed: int | None = None) -> Iterator[pa.StringArray]:
        """The texts of `merge_all_datasets_weighted`, some at a time."""
        log.info("Loading datasets for weighted sampling...")
        recipe = self.recipe if self.recipe.weighted else load_recipe(self._config, use_weights=True)
        for source in recipe.active:
            log.info("Loading %s%s [weight: %s]", source.name, _config(source), source.weight)
        recipe = recipe.replace(seed=seed, on_exhausted="repeat")
        draws = self._open(recipe, max_samples)
        active = draws.recipe.active
        log.info("Dataset weights (normalized):")
        for source in active:
            share = draws.recipe.shares[source.id]
            log.info("  %s: %.4f (%.2f%%)", label(source), share, 100 * share)
        log.info("Interleaving datasets with weighted sampling...")
        for texts in draws.weighted():
            self._on_progress("weighted samples", draws.outcome.processed, max_samples)
            yield texts
        log.info("Weighted sampling completed: %s", draws.outcome)

    def concatenated(
        self, english: bool = True, vietnamese: bool = True, max_samples: int | None = None
    ) -> Iterator[pa.StringArray]:
        """The texts of `merge_all_datasets`, some at a time."""
        recipe = self._chosen(english, vietnamese)
        draws = self._open(recipe.replace(on_exhausted="renormalize", weighted=False), max_samples)
        for language, sources in groupby(draws.recipe.active, key=_language):
            log.info("Processing %s datasets...", (language or "other").capitalize())
            for source in sources:
                log.info("Loading dataset: %s (%s)%s", source.name, _tongue(source), _config(source))
                for texts in draws.one(source):
                    self._on_progress(label(source), draws.outcomes[source.id].processed, max_samples)
                    yield texts
                log.info("Completed %s: %s", label(source), draws.outcomes[source.id])
        log.info("Total merged texts: %d", draws.outcome.kept)

    def create_huggingface_dataset(self, texts: "list[str] | Dataset", train_test_split: float = 0.95) -> "DatasetDict":
        """The texts in order, column `text`: the first part as split `train`, the rest as `test`."""
        log.info("Creating HuggingFace dataset...")
        dataset = merge_output.split(texts, train_test_split)
        log.info("Created dataset with %d train and %d test samples", len(dataset["train"]), len(dataset["test"]))
        return dataset

    def save_local(self, dataset: "DatasetDict", output_dir: str | os.PathLike[str] = "./merged_dataset") -> None:
        """Save for `datasets.load_from_disk`; a folder that was saved here before is replaced.

        Raises:
            OutputError: the folder holds something else, is in use, or cannot be written.
        """
        with merge_output.workplace(output_dir) as work:
            self.save_into(dataset, output_dir, work)

    def save_into(self, dataset: "DatasetDict", output_dir: str | os.PathLike[str], work: os.PathLike[str]) -> None:
        """As `save_local`, with the folder already held by `saved.workplace`."""
        log.info("Saving dataset locally to %s", output_dir)
        merge_output.save(dataset, output_dir, work, *self._account())
        log.info("Dataset saved to %s", output_dir)

    def push_to_hub(self, dataset: "DatasetDict", repo_name: str, private: bool = False) -> None:
        """Push both splits to a dataset repository, made if there is none.

        Raises:
            OutputError: the Hub refuses; the message says why.
        """
        log.info("Pushing dataset to HuggingFace Hub: %s", repo_name)
        merge_output.push(dataset, repo_name, private, self._token)
        log.info("Successfully pushed to %s", repo_name)

    def _chosen(self, english: bool, vietnamese: bool) -> Recipe:
        """The recipe with the sources of the languages asked for."""
        wanted = {"english": english, "vietnamese": vietnamese}
        if all(wanted.values()):
            return self.recipe
        chosen = [source for source in self.recipe.sources if wanted.get(_language(source) or "", False)]
        if not any(source in self.recipe.active for source in chosen):
            names = " or ".join(name.capitalize() for name, yes in wanted.items() if yes) or "any language"
            has = ", ".join(sorted({_tongue(source) for source in self.recipe.active}))
            fault = f"no source in {names} can be read; its sources are in: {has}"
            raise RecipeError(
                self.recipe.file, [f"{fault}. Give a source `kind: {{language: en}}` or vi, or ask for all"]
            )
        return self.recipe.replace(sources=chosen)

    def _open(self, recipe: Recipe, max_samples: int | None) -> RowDraws:
        plain = recipe.replace(lanes=1, order="iid", shuffle="none")
        mix = open_mix(plain, max_samples=max_samples, skip_unreadable=self._skip, token=self._token)
        self.draws = RowDraws(mix)
        return self.draws

    def _account(self) -> tuple[str, dict[str, Any]]:
        """The pinned recipe as a file, and what became of the rows, JSON-able; of the last merge."""
        if self.draws is None:
            raise ValueError(
                "nothing has been merged yet; call merge_all_datasets() or merge_all_datasets_weighted() first"
            )
        return self.draws.recipe.to_yaml(), {
            "recipe": self.draws.recipe.fingerprint,
            "skipped": self.draws.skipped,
            "sources": {source: _counts(outcome) for source, outcome in self.draws.outcomes.items()},
            "total": _counts(self.draws.outcome),
        }


def label(source: Source) -> str:
    """name[/config][/data_dir], as logs and tables call a source."""
    return "/".join(part for part in (source.name, source.config, source.data_dir) if part)


def _config(source: Source) -> str:
    return "".join(f" [{key}: {value}]" for key in ("config", "data_dir") if (value := getattr(source, key)))


def _language(source: Source) -> str | None:
    """`english`, `vietnamese`, or None."""
    return LANGUAGES.get((source.kind.language or "").split("_")[0])


def _tongue(source: Source) -> str:
    return _language(source) or source.kind.language or "language not stated"


def _counts(outcome: Outcome) -> dict[str, Any]:
    return {"processed": outcome.processed, "kept": outcome.kept, "dropped": dict(sorted(outcome.dropped.items()))}
