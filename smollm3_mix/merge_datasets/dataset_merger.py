"""`DatasetMerger` of `merge_datasets.py`: the same names, meaning and log lines."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from smollm3_mix.errors import RecipeError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.row_draws import Outcome, RowDraws
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import overview
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import find_recipe

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

log = logging.getLogger("smollm3_mix")

LANGUAGES = {"en": "english", "eng": "english", "vi": "vietnamese", "vie": "vietnamese"}
"""First part of a language tag → group of sources."""

OnProgress = Callable[[str, int, int | None], None]
"""Called with a label, the rows processed so far, and the limit in rows."""


class DatasetMerger:
    """Merges sources into one list of texts, by seeded weighted draws or one source after another.

    The source of each row is drawn before filtering, as in `datasets.interleave_datasets`. Shares therefore hold for
    the drawn rows, and only on average. `load` and `write` have exact token shares after filtering.

    Args:
        config_path: Recipe file, shipped name, or config name of `merge_datasets.py`, such as
            `smollm3_stage2_config.yaml`.
        use_weights: Whether to reject a recipe without weights.
        skip_unreadable: Skip sources that cannot be read, and log them.
        accept_terms: Names of the terms of use to accept, for example `"softwareheritage"`.
        token: Hugging Face access token. Defaults to the saved login.
        on_progress: Called after every block with a label, the rows processed so far, and the limit in rows.

    Attributes:
        recipe: Recipe that was read.
        draws: Draws of the last merge. None before the first merge.

    Raises:
        RecipeError: If the recipe is missing or invalid.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] = "datasets_config.yaml",
        use_weights: bool = False,
        *,
        skip_unreadable: bool = False,
        accept_terms: str | Sequence[str] | None = None,
        token: Token = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        log.info("Loading configuration from %s", config_path)
        self.recipe = overview(load_recipe(config_path, use_weights=use_weights))
        path = find_recipe(config_path)
        if path.name != os.path.basename(config_path):  # noqa: PTH119 - the value need not be a path
            log.info("No such file. Using the shipped recipe %s", path.name)
        if use_weights:
            log.info("Weighted sampling enabled")
        self.draws: RowDraws | None = None
        self._config, self._skip_unreadable = config_path, skip_unreadable
        self._accept_terms, self._token = accept_terms, token
        self._on_progress = on_progress or (lambda *_: None)

    def merge_all_datasets_weighted(self, max_samples: int | None = None, seed: int | None = None) -> list[str]:
        """Return the kept texts of all sources by weighted draws. Sources that end are repeated.

        Args:
            max_samples: Number of rows to draw, including dropped rows. By default, the draws end after every source
                was read once.
            seed: Seed of the draws. Defaults to the recipe's seed, or 42.

        Raises:
            RecipeError: If the recipe has no weights.
            UnreadableSourcesError: If sources cannot be read.
            SourceExhaustedError: If a source has no rows.
            SourceError: If a source cannot be read on the way.
        """
        return [text for texts in self.weighted(max_samples, seed) for text in texts.to_pylist()]

    def merge_all_datasets(
        self,
        include_english: bool = True,
        include_vietnamese: bool = True,
        max_samples_per_dataset: int | None = None,
    ) -> list[str]:
        """Return the kept texts of one source after another, in the order of the recipe and without weights.

        Args:
            include_english: False merges only Vietnamese sources.
            include_vietnamese: False merges only English sources.
            max_samples_per_dataset: Number of rows to read per source, including dropped rows.

        Raises:
            RecipeError: If no source is left.
            UnreadableSourcesError: If sources cannot be read.
            SourceError: If a source cannot be read on the way.
        """
        found = self.concatenated(include_english, include_vietnamese, max_samples_per_dataset)
        return [text for texts in found for text in texts.to_pylist()]

    def weighted(self, max_samples: int | None = None, seed: int | None = None) -> Iterator[pa.StringArray]:
        """Yield the texts of `merge_all_datasets_weighted` in batches."""
        log.info("Loading datasets for weighted sampling...")
        recipe = self.recipe if self.recipe.weighted else overview(load_recipe(self._config, use_weights=True))
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
        """Yield the texts of `merge_all_datasets` in batches."""
        recipe = self._select(english, vietnamese)
        draws = self._open(recipe.replace(on_exhausted="renormalize", weighted=False), max_samples)
        for language, sources in groupby(draws.recipe.active, key=_language):
            log.info("Processing %s datasets...", (language or "other").capitalize())
            for source in sources:
                log.info("Loading dataset: %s (%s)%s", source.name, _language_label(source), _config(source))
                for texts in draws.one(source):
                    self._on_progress(label(source), draws.outcomes[source.id].processed, max_samples)
                    yield texts
                log.info("Completed %s: %s", label(source), draws.outcomes[source.id])
        log.info("Total merged texts: %d", draws.outcome.kept)

    def create_huggingface_dataset(self, texts: "list[str] | Dataset", train_test_split: float = 0.95) -> "DatasetDict":
        """Return a dataset with the texts in column `text`, in order: the first part as `train`, the rest as `test`."""
        log.info("Creating HuggingFace dataset...")
        dataset = merge_output.split(texts, train_test_split)
        log.info("Created dataset with %d train and %d test samples", len(dataset["train"]), len(dataset["test"]))
        return dataset

    def save_local(self, dataset: "DatasetDict", output_dir: str | os.PathLike[str] = "./merged_dataset") -> None:
        """Save a dataset for `datasets.load_from_disk`. Replaces an earlier merge in the folder.

        Raises:
            OutputError: If the folder contains something else, is in use, or cannot be written.
        """
        with merge_output.work_folder(output_dir) as work:
            self.save_into(dataset, output_dir, work)

    def save_into(self, dataset: "DatasetDict", output_dir: str | os.PathLike[str], work: os.PathLike[str]) -> None:
        """Save a dataset as `save_local` does, into a folder that `merge_output.work_folder` has locked."""
        log.info("Saving dataset locally to %s", output_dir)
        merge_output.save(dataset, output_dir, work, *self._result())
        log.info("Dataset saved to %s", output_dir)

    def push_to_hub(self, dataset: "DatasetDict", repo_name: str, private: bool = False) -> None:
        """Push both splits to a dataset repository. The repository is created if it does not exist.

        Raises:
            OutputError: If the Hub refuses or is unreachable.
        """
        log.info("Pushing dataset to HuggingFace Hub: %s", repo_name)
        merge_output.push(dataset, repo_name, private, self._token)
        log.info("Successfully pushed to %s", repo_name)

    def _select(self, english: bool, vietnamese: bool) -> Recipe:
        """Return the recipe with the sources of the selected languages."""
        selected = {"english": english, "vietnamese": vietnamese}
        if all(selected.values()):
            return self.recipe
        chosen = [source for source in self.recipe.sources if selected.get(_language(source) or "", False)]
        if not any(source in self.recipe.active for source in chosen):
            names = " or ".join(name.capitalize() for name, yes in selected.items() if yes) or "any language"
            existing = ", ".join(sorted({_language_label(source) for source in self.recipe.active}))
            problem = f"no source in {names} can be read. Languages of the sources: {existing}. "
            advice = "Set `kind: {language: en}` or vi in a source, or merge all languages."
            raise RecipeError(self.recipe.file, [problem + advice])
        return self.recipe.replace(sources=chosen)

    def _open(self, recipe: Recipe, max_samples: int | None) -> RowDraws:
        plain = recipe.replace(lanes=1, order="iid", shuffle="none")
        mix = open_mix(
            plain,
            max_samples=max_samples,
            skip_unreadable=self._skip_unreadable,
            accept_terms=self._accept_terms,
            token=self._token,
        )
        self.draws = RowDraws(mix)
        return self.draws

    def _result(self) -> tuple[str, dict[str, Any]]:
        """Return the pinned recipe as YAML, and the row counts of the last merge as JSON-able values."""
        if self.draws is None:
            raise ValueError(
                "Nothing was merged yet. Call merge_all_datasets() or merge_all_datasets_weighted() first."
            )
        return self.draws.recipe.to_yaml(), {
            "recipe": self.draws.recipe.fingerprint,
            "skipped": self.draws.skipped,
            "sources": {source: _counts(outcome) for source, outcome in self.draws.outcomes.items()},
            "total": _counts(self.draws.outcome),
        }


def label(source: Source) -> str:
    """Return name[/config][/data_dir], the label of a source in logs and tables."""
    return "/".join(part for part in (source.name, source.config, source.data_dir) if part)


def _config(source: Source) -> str:
    return "".join(f" [{key}: {value}]" for key in ("config", "data_dir") if (value := getattr(source, key)))


def _language(source: Source) -> str | None:
    """Return `english`, `vietnamese` or None."""
    return LANGUAGES.get((source.kind.language or "").split("_")[0])


def _language_label(source: Source) -> str:
    return _language(source) or source.kind.language or "unknown"


def _counts(outcome: Outcome) -> dict[str, Any]:
    return {"processed": outcome.processed, "kept": outcome.kept, "dropped": dict(sorted(outcome.dropped.items()))}
