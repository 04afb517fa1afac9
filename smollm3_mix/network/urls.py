"""URLs, file systems, tokens, and the message for an unreachable Hub."""

from __future__ import annotations

import re
from typing import Any

from smollm3_mix.compat import hf_hub
from smollm3_mix.network.retry import http_statuses, is_offline_mode

Token = str | bool | None
"""Hugging Face access token. None uses the saved login or `HF_TOKEN`. False uses no token."""

HUB_FILE_URL = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def file_system(url: str, token: Token) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it."""
    import fsspec

    return fsspec.core.url_to_fs(url, **({"token": token} if url.startswith("hf://") else {}))


def endpoint() -> str:
    """Return the URL of the Hub."""
    return hf_hub.endpoint()


def unreachable_message(error: BaseException) -> str:
    """Return the message for a Hub that is unreachable or refuses, with the remedy."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (Request ID")[0]
    if is_offline_mode(error):
        return (
            "HF_HUB_OFFLINE is set, but its texts are on the Hub. Unset it, or write the mix while you are online "
            "(`smollm3-mix write`) and load the written mix"
        )
    if 401 in http_statuses(error):
        return "the Hub refuses the token (401 Unauthorized). Log in again with `hf auth login`, or unset HF_TOKEN"
    return f"the Hub cannot be reached ({first}). Check the network, HF_ENDPOINT and HF_HUB_OFFLINE"
