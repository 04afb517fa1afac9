"""The cache of mixes that `datasets` prepared."""

import glob
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

log = logging.getLogger("smollm3_mix")


def newest_prepared(cache_dir: str, identity: str) -> str | None:
    """Of the mixes of that identity that are prepared, at whatever commits, the last one's id; None: there is none.

    Args:
        cache_dir: where that identity would be prepared without commits.
        identity: as `SmolLM3MixConfig.identity` gives it.
    """
    above, _, below = cache_dir.rpartition(identity)
    found = Path(above).glob(f"{glob.escape(identity)}-*{glob.escape(below)}/dataset_info.json")
    last = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if last is None else last.relative_to(above).parts[0]


def plain_cache_id(name: str, asked: Mapping[str, Any], features: Any) -> str:
    """The id that `datasets` itself gives a config that a user asked for by name and fields: `mine`, `mine-seed=1`.

    Args:
        name: of the config.
        asked: what it was asked for with; the files of the repository are not of it.
        features: that were asked for, or None.
    """
    fields = {key: value for key, value in asked.items() if key not in ("data_files", "recipe", "config_id")}
    plain: str = datasets.BuilderConfig(name).create_config_id(config_kwargs=fields, custom_features=features)
    return plain


def leave_link(prepared: str, plain: str) -> None:
    """Link the prepared mix in the cache also under the id that `datasets` itself gives it.

    Offline, `load_dataset` of a repository knows only the names of repository and config. It looks for a folder with
    that name and reports that it takes the latest. Online the link is not used. If it cannot be made, the log says so.

    Args:
        prepared: the folder, `<cache>/<repository>/<id>/<version>/<hash>`.
        plain: of `plain_id`.
    """
    folder = Path(prepared)
    place = folder.parents[2] / plain / folder.parent.name / folder.name
    if place.is_dir() and not place.is_symlink():
        return  # prepared by something else under that very name
    aside = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.symlink_to(os.path.relpath(folder, place.parent), target_is_directory=True)
        aside.replace(place)
    except OSError as error:
        log.warning("Offline, load_dataset will not find %s: no link to it can be made (%s)", prepared, error)
