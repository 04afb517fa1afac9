"""The undocumented names of `huggingface_hub` exist in the installed version and take the arguments that are passed."""

import inspect

import huggingface_hub.utils
import pytest
from huggingface_hub.errors import HFValidationError

from smollm3_mix.compat import hf_hub

ARGUMENTS = {
    "build_hf_headers": {"token"},
    "get_session": set(),
    "hf_raise_for_status": {"response"},
    "http_backoff": {"method", "url", "retry_on_status_codes", "retry_on_exceptions"},
    "tqdm": set(),
    "validate_repo_id": {"repo_id"},
}


@pytest.mark.parametrize("name", hf_hub.NAMES)
def test_names_take_the_arguments_that_are_passed(name: str) -> None:
    parameters = inspect.signature(getattr(huggingface_hub.utils, name)).parameters
    assert parameters.keys() >= ARGUMENTS[name]


def test_headers_contain_token() -> None:
    assert hf_hub.build_headers("hf_abc")["authorization"] == "Bearer hf_abc"
    assert "authorization" not in hf_hub.build_headers(False)


def test_progress_bars_have_one_lock() -> None:
    hf_hub.lock_progress_bars()
    assert huggingface_hub.utils.tqdm._lock is huggingface_hub.utils.tqdm.get_lock()


def test_invalid_repository_name_is_rejected() -> None:
    hf_hub.validate_repo_id("owner/name")
    with pytest.raises(HFValidationError, match="a//b"):
        hf_hub.validate_repo_id("a//b")


def test_missing_name_raises_with_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.utils, "build_hf_headers", None)
    with pytest.raises(ImportError) as error:
        hf_hub.build_headers(None)
    assert str(error.value) == (
        f"huggingface_hub {huggingface_hub.__version__} has no utils.build_hf_headers. smollm3_mix was tested with "
        "versions 0.34 to 2.x. Install one of them: pip install 'huggingface_hub>=0.34,<3'"
    )
