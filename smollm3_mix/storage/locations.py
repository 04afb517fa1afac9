"""Tell local output folders from URLs."""

import os
from pathlib import Path

from smollm3_mix.network.urls import Token
from smollm3_mix.storage.hub_store import HubStore
from smollm3_mix.storage.url_store import UrlStore

_LOCAL = ("file://", "local://")


def local_path(location: str | os.PathLike[str]) -> Path:
    """Return the local path of a path or file:// URL."""
    text = os.fspath(location)
    return Path(next((text.removeprefix(scheme) for scheme in _LOCAL if text.startswith(scheme)), text))


def open_store(location: str, token: Token) -> UrlStore | None:
    """Return the store at a URL, or None for a local folder."""
    if "://" not in location or location.startswith(_LOCAL):
        return None
    store_class = HubStore if location.startswith("hf://") else UrlStore
    return store_class(location.rstrip("/"), token)
