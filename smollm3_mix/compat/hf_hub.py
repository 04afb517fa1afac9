"""Undocumented names of `huggingface_hub`. Every other module takes these names from here.

`huggingface_hub.utils` has the names from 0.34 to 2.x, but its `__all__` does not list them. Up to 0.36 they use
`requests`, from 1.0 on httpx.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smollm3_mix.compat.moved_names import find_name

TESTED, REQUIREMENT = "0.34 to 2.x", "huggingface_hub>=0.34,<3"

NAMES = ("build_hf_headers", "get_session", "hf_raise_for_status", "http_backoff", "tqdm", "validate_repo_id")
"""Names of `huggingface_hub.utils` that this module uses."""

CONSTANTS = ("ENDPOINT", "HF_HOME")
"""Names of `huggingface_hub.constants` that this module uses."""


def build_headers(token: str | bool | None) -> dict[str, str]:
    """Return the headers of a request to the Hub, the authorization of `token` included."""
    headers: dict[str, str] = _utility("build_hf_headers")(token=token)
    return headers


def get_with_backoff(url: str, headers: dict[str, str], *, statuses: Sequence[int], timeout: float) -> Any:
    """Send a GET request and return the response. Repeats the request while its status is one of `statuses`.

    Args:
        url: URL of the request.
        headers: Headers of the request.
        statuses: HTTP statuses to retry. After the last retry, the response is returned as it is.
        timeout: Seconds to wait for a connection, or for more of the response.
    """
    backoff = _utility("http_backoff")
    options = {"headers": headers, "timeout": timeout}
    return backoff("GET", url, retry_on_status_codes=tuple(statuses), retry_on_exceptions=(), **options)


def get(url: str, timeout: float) -> Any:
    """Send a GET request with the HTTP client of `huggingface_hub`, its proxies and certificates."""
    return _utility("get_session")().get(url, timeout=timeout)


def raise_for_status(response: Any) -> None:
    """Raise the error of `huggingface_hub` for a response that is not successful."""
    _utility("hf_raise_for_status")(response)


def lock_progress_bars() -> None:
    """Create the class-wide lock of progress bars. At first use, tqdm creates it without regard to other threads."""
    _utility("tqdm").get_lock()


def validate_repo_id(repo_id: str) -> None:
    """Raise HFValidationError unless `repo_id` is a possible name of a repository."""
    _utility("validate_repo_id")(repo_id)


def endpoint() -> str:
    """Return the URL of the Hub."""
    return str(_constant("ENDPOINT"))


def home() -> Path:
    """Return the folder of caches and tokens, which the variable HF_HOME sets."""
    return Path(_constant("HF_HOME"))


def client_errors() -> tuple[type[Exception], ...]:
    """Return the bases of HTTP errors, of the client that `huggingface_hub` uses: requests or httpx."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__


def _utility(name: str) -> Any:
    return find_name("huggingface_hub.utils", name, tested=TESTED, requirement=REQUIREMENT)


def _constant(name: str) -> Any:
    return find_name("huggingface_hub.constants", name, tested=TESTED, requirement=REQUIREMENT)
