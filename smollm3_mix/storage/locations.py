"""What an output directory is: a folder of this machine, or a store."""

import os
from pathlib import Path

from smollm3_mix.network.urls import Token
from smollm3_mix.storage.hub_store import HubStore
from smollm3_mix.storage.url_store import UrlStore

_LOCAL = ("file://", "local://")


def is_local(place: str | os.PathLike[str]) -> Path:
    """The folder of this machine that a path or a file:// URL names."""
    text = os.fspath(place)
    return Path(next((text.removeprefix(scheme) for scheme in _LOCAL if text.startswith(scheme)), text))


def open_store(place: str, token: Token) -> UrlStore | None:
    """The store at a URL; None where it is a folder of this machine."""
    if "://" not in place or place.startswith(_LOCAL):
        return None
    kind = HubStore if place.startswith("hf://") else UrlStore
    return kind(place.rstrip("/"), token)
