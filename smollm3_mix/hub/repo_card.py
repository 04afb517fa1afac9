"""README.md of a repository with several mixes, each a config with a folder of its own.

Every mix has a section between two marks. A push replaces the section of its mix and keeps the rest of the page.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from huggingface_hub import DatasetCard

from smollm3_mix.output.card.dataset_card import Home, dataset_card, dump, size_category
from smollm3_mix.recipe.curriculum import AnyRecipe

_MERGED_LISTS = ("language", "license", "source_datasets")
"""Lists of the metadata that are the union over all mixes."""

_INTRODUCTION = """# {title}

Data mixtures written by smollm3_mix, with token shares that hold at every prefix, after cleaning, filtering and dedup.
Plain Parquet with one config per mixture. Loading them needs no code. The folder of each mixture has the recipe that
rebuilds it (`recipe.yaml`) and all statistics (`stats.json`)."""

Read = Callable[[str], str | None]
"""Returns the text of a file in the repository, or None if it does not exist."""


def merge_card(recipe: AnyRecipe, summary: Mapping[str, Any], home: Home, read: Read) -> str:
    """Return the card of the repository with this mix added.

    Args:
        recipe: Pinned recipe of the mix.
        summary: Content of its `stats.json`.
        home: Location of the mix.
        read: Reads the existing card, and those of the other mixes.
    """
    existing, text = _parsed(read("README.md"))
    own, own_text = _parsed(dataset_card(recipe, summary, home))
    metadata = _merge_metadata(existing, own, home.config, read)
    page = text.strip() or _INTRODUCTION.format(title=home.repo_id.split("/")[1])
    return f"---\n{dump(metadata)}\n---\n\n{_with_section(page, home.config, own_text)}\n"


def remove_config(config: str, read: Read) -> str | None:
    """Return the card of the repository without a config, or None if it does not have the config."""
    content = read("README.md")
    if content is None:
        return None
    metadata, text = _parsed(content)
    if config not in (entry["config_name"] for entry in metadata.get("configs") or []):
        return None
    for key in ("configs", "dataset_info"):
        metadata[key] = [entry for entry in _listed(metadata.get(key)) if entry.get("config_name") != config]
    page = _section(config).sub("", text).strip()
    return f"---\n{dump(_without_empty(metadata))}\n---\n\n{page}\n"


def _merge_metadata(existing: dict[str, Any], own: dict[str, Any], config: str, read: Read) -> dict[str, Any]:
    metadata: dict[str, Any] = {**own, **existing}
    for key in ("configs", "dataset_info"):
        others = [entry for entry in _listed(existing.get(key)) if entry.get("config_name", "default") != config]
        metadata[key] = sorted(others + own[key], key=lambda entry: str(entry.get("config_name")))
    mixes = [
        _mix_metadata(entry["config_name"], read) for entry in metadata["configs"] if entry["config_name"] != config
    ]
    known: list[dict[str, Any]] = [each for each in mixes if each is not None]
    if len(known) < len(mixes) or not mixes:  # keep the values of configs that are not mixes
        known.append(existing)
    for key in _MERGED_LISTS:
        values = {value for each in [*known, own] for value in _strings(each.get(key))}
        metadata[key] = sorted(values)
    metadata["tags"] = list(dict.fromkeys([*_strings(existing.get("tags")), *own["tags"]]))
    counts = [split.get("num_examples", 0) for info in metadata["dataset_info"] for split in info.get("splits", [])]
    metadata["size_categories"] = [size_category(sum(counts))]
    metadata["pretty_name"] = existing.get("pretty_name") or (own["pretty_name"] if not mixes else None)
    return _without_empty(metadata)


def _without_empty(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value is not None and value != []}


def _mix_metadata(config: str, read: Read) -> dict[str, Any] | None:
    content = read(f"{config}/README.md")
    return None if content is None else _parsed(content)[0]


def _parsed(content: str | None) -> tuple[dict[str, Any], str]:
    """Return metadata and text of a card, as `huggingface_hub` parses them."""
    if content is None or not content.lstrip().startswith("---"):
        return {}, content or ""
    found = DatasetCard(content, ignore_metadata_errors=True)
    data: dict[str, Any] = found.data.to_dict()  # type: ignore[no-untyped-call]
    return data, found.text


def _listed(value: Any) -> list[dict[str, Any]]:
    """Return the entries of a metadata key that has one, several or no entries."""
    return [value] if isinstance(value, dict) else list(value or [])


def _strings(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _section(config: str) -> re.Pattern[str]:
    """Return the pattern of a mix's section with its marks."""
    name = re.escape(config)
    return re.compile(rf"<!-- mix {name} -->.*?<!-- end of mix {name} -->", re.DOTALL)


def _with_section(page: str, config: str, text: str) -> str:
    lower = re.sub(r"^#", "##", _outside_code(text.strip()), flags=re.MULTILINE).replace("\0", "#")
    section = f"<!-- mix {config} -->\n\n{lower}\n\n<!-- end of mix {config} -->"
    found = _section(config).search(page)
    if found is None:
        return f"{page}\n\n{section}"
    return page[: found.start()] + section + page[found.end() :]


def _outside_code(text: str) -> str:
    """Replace # inside code blocks by NUL, so that it does not start a heading."""
    return re.sub(r"^```.*?^```", lambda block: block[0].replace("#", "\0"), text, flags=re.DOTALL | re.MULTILINE)
