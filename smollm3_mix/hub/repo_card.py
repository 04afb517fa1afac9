"""The README.md of a repository that holds several mixes, each a config in a folder of its own.

Every mix has its section between two marks; a push replaces its own, and leaves the rest of the page as it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from huggingface_hub import DatasetCard

from smollm3_mix.output.card.dataset_card import Home, dataset_card, dump, size_category
from smollm3_mix.recipe.recipe import Recipe

_UNITED = ("language", "license", "source_datasets")
"""Lists to which every mix of a repository adds its own."""

_INTRODUCTION = """# {title}

Data mixtures written by smollm3_mix: token shares that hold at every prefix, after cleaning, judging and dedup.
Plain Parquet, one config for each mixture; no code is needed to load them. The folder of each holds the recipe that
rebuilds it (`recipe.yaml`) and every count below (`stats.json`)."""

Read = Callable[[str], str | None]
"""Text of a file in the repository, None where there is none."""


def merged(recipe: Recipe, summary: Mapping[str, Any], home: Home, read: Read) -> str:
    """The repository's card once this mix is in it.

    Args:
        recipe: of the mix, with every source pinned.
        summary: its `stats.json`.
        home: where it lies.
        read: gives the card that is there, and those of the other mixes.
    """
    there, text = _parsed(read("README.md"))
    mine, mine_text = _parsed(dataset_card(recipe, summary, home))
    metadata = _merged(there, mine, home.config, read)
    page = text.strip() or _INTRODUCTION.format(title=home.repo_id.split("/")[1])
    return f"---\n{dump(metadata)}\n---\n\n{_with_section(page, home.config, mine_text)}\n"


def without(config: str, read: Read) -> str | None:
    """The repository's card without one of its configs; None where it does not have it."""
    content = read("README.md")
    if content is None:
        return None
    metadata, text = _parsed(content)
    if config not in (entry["config_name"] for entry in metadata.get("configs") or []):
        return None
    for key in ("configs", "dataset_info"):
        metadata[key] = [entry for entry in _listed(metadata.get(key)) if entry.get("config_name") != config]
    page = _section(config).sub("", text).strip()
    return f"---\n{dump(_filled(metadata))}\n---\n\n{page}\n"


def _merged(there: dict[str, Any], mine: dict[str, Any], config: str, read: Read) -> dict[str, Any]:
    metadata: dict[str, Any] = {**mine, **there}
    for key in ("configs", "dataset_info"):
        others = [entry for entry in _listed(there.get(key)) if entry.get("config_name", "default") != config]
        metadata[key] = sorted(others + mine[key], key=lambda entry: str(entry.get("config_name")))
    mixes = [_of_a_mix(entry["config_name"], read) for entry in metadata["configs"] if entry["config_name"] != config]
    known: list[dict[str, Any]] = [each for each in mixes if each is not None]
    if len(known) < len(mixes) or not mixes:  # of what is no mix of ours, what the page says stays
        known.append(there)
    for key in _UNITED:
        values = {value for each in [*known, mine] for value in _strings(each.get(key))}
        metadata[key] = sorted(values)
    metadata["tags"] = list(dict.fromkeys([*_strings(there.get("tags")), *mine["tags"]]))
    counts = [split.get("num_examples", 0) for info in metadata["dataset_info"] for split in info.get("splits", [])]
    metadata["size_categories"] = [size_category(sum(counts))]
    metadata["pretty_name"] = there.get("pretty_name") or (mine["pretty_name"] if not mixes else None)
    return _filled(metadata)


def _filled(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value is not None and value != []}


def _of_a_mix(config: str, read: Read) -> dict[str, Any] | None:
    content = read(f"{config}/README.md")
    return None if content is None else _parsed(content)[0]


def _parsed(content: str | None) -> tuple[dict[str, Any], str]:
    """Metadata and text of a card, as `huggingface_hub` reads them."""
    if content is None or not content.lstrip().startswith("---"):
        return {}, content or ""
    found = DatasetCard(content, ignore_metadata_errors=True)
    data: dict[str, Any] = found.data.to_dict()  # type: ignore[no-untyped-call]
    return data, found.text


def _listed(value: Any) -> list[dict[str, Any]]:
    """Entries of a metadata key that holds one, several, or nothing."""
    return [value] if isinstance(value, dict) else list(value or [])


def _strings(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _section(config: str) -> re.Pattern[str]:
    """The section of a mix with its marks."""
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
    """The text with the # of lines inside code blocks made NUL, so that they are not taken for headings."""
    return re.sub(r"^```.*?^```", lambda block: block[0].replace("#", "\0"), text, flags=re.DOTALL | re.MULTILINE)
