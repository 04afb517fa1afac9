"""What an output directory is: a folder of this machine, or a store."""

import os
from pathlib import Path

from smollm3_mix.network.urls import Token
from smollm3_mix.storage.hub_store import HubStore
from smollm3_mix.storage.url_store import Store

_LOCAL = ("file://", "local://")


def local(place: str | os.PathLike[str]) -> Path:
    """The folder of this machine that a path or a file:// URL names."""
    text = os.fspath(place)
    return Path(next((text.removeprefix(scheme) for scheme in _LOCAL if text.startswith(scheme)), text))


def store_at(place: str, token: Token) -> Store | None:
    """The store at a URL; None where it is a folder of this machine."""
    if "://" not in place or place.startswith(_LOCAL):
        return None
    kind = HubStore if place.startswith("hf://") else Store
    return kind(place.rstrip("/"), token)
