"""Terms of use that must be accepted before texts are fetched, and the marker files of accepted terms."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from smollm3_mix.compat import hf_hub

SOFTWARE_HERITAGE = "softwareheritage"

log = logging.getLogger("smollm3_mix")

TERMS = {
    SOFTWARE_HERITAGE: (
        "These texts come from Software Heritage, blob by blob. Software Heritage and The Stack v2 require:\n"
        "  * Bulk download needs an agreement with Software Heritage and Inria: write to "
        "datasets@softwareheritage.org (https://huggingface.co/datasets/bigcode/the-stack-v2).\n"
        "  * A language model trained on the texts follows the principles of "
        "https://www.softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code: the model is open, its training "
        "data is identified by SWHIDs (blob ids stay in each record's `meta`), and authors can have their code removed "
        "before training (`exclude:`).\n"
        "  * The license of each file applies, attribution included (`detected_licenses` in `meta`).\n"
        "  * Removals apply: update to the newest usable version of the ids, and do not keep removed files.\n"
        'To accept these terms, add --accept-terms softwareheritage (accept_terms="softwareheritage"). '
        "Accept them once per machine."
    )
}
"""Text of the terms by name: the terms of use of The Stack v2, and the statement that they refer to."""

UNACCEPTED = "it has blob ids of Software Heritage. Its terms, listed below, must be accepted."


def accepted_terms(name: str, accept_terms: Sequence[str] | str | None) -> bool:
    """Return True if terms are accepted, now or earlier on this machine.

    Accepting creates a marker in HF_HOME/smollm3_mix/terms.

    Args:
        name: Key of TERMS.
        accept_terms: Names of terms that are accepted now.

    Raises:
        ValueError: If `accept_terms` contains an unknown name.
    """
    names = (accept_terms,) if isinstance(accept_terms, str) else tuple(accept_terms or ())
    unknown = [each for each in names if each not in TERMS]
    if unknown:
        raise ValueError(f"unknown terms {unknown[0]!r}. Known terms: {', '.join(TERMS)}")
    marker = hf_hub.home() / "smollm3_mix" / "terms" / name
    if name in names and not marker.exists():
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        except OSError as error:
            log.warning("Cannot write %s (%s): the terms must be accepted again next time", marker, error)
    return name in names or marker.exists()
