"""Cache of the mixes that `datasets` has prepared."""

import glob
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

log = logging.getLogger("smollm3_mix")


def newest_prepared(cache_dir: str, cache_id: str) -> str | None:
    """Return the id of the newest prepared mix with a cache id, at any commits, or None if there is none.

    Args:
        cache_dir: Folder in which the mix would be prepared without commits.
        cache_id: Cache id from `SmolLM3MixConfig.cache_id`.
    """
    above, _, below = cache_dir.rpartition(cache_id)
    found = Path(above).glob(f"{glob.escape(cache_id)}-*{glob.escape(below)}/dataset_info.json")
    last = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if last is None else last.relative_to(above).parts[0]


def plain_cache_id(name: str, options: Mapping[str, Any], features: Any) -> str:
    """Return the id of `datasets` for a config with these options, such as `mine` or `mine-seed=1`.

    Args:
        name: Name of the config.
        options: Options that the user passed. Files of the repository are ignored.
        features: Requested features, or None.
    """
    fields = {key: value for key, value in options.items() if key not in ("data_files", "recipe", "config_id")}
    plain: str = datasets.BuilderConfig(name).create_config_id(config_kwargs=fields, custom_features=features)
    return plain


def link_prepared(prepared: str, plain: str) -> None:
    """Link a prepared mix in the cache under the id of `datasets`.

    Offline, `load_dataset` of a repository knows only the names of repository and config. It looks for a folder with
    that name. Online, the link is not used. A failure is logged.

    Args:
        prepared: Folder of the prepared mix, `<cache>/<repository>/<id>/<version>/<hash>`.
        plain: Id from `plain_cache_id`.
    """
    folder = Path(prepared)
    link = folder.parents[2] / plain / folder.parent.name / folder.name
    if link.is_dir() and not link.is_symlink():
        return  # another mix was prepared under this id
    temporary = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        log.warning("Offline, load_dataset will not find %s, because a link to it cannot be made (%s)", prepared, error)
