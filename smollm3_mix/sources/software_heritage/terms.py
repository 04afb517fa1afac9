"""Terms that somebody has to accept before texts are fetched, and the note that it was done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

SOFTWARE_HERITAGE = "softwareheritage"

log = logging.getLogger("smollm3_mix")

TERMS = {
    SOFTWARE_HERITAGE: (
        "Their texts come from Software Heritage, blob by blob. What it and The Stack v2 ask of you:\n"
        "  * Bulk download needs an agreement with Software Heritage and Inria: write to "
        "datasets@softwareheritage.org (https://huggingface.co/datasets/bigcode/the-stack-v2).\n"
        "  * A language model trained on it follows the principles of "
        "https://www.softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code: the model is open; its training "
        "data is identified by SWHIDs (blob ids stay in each record's `meta`); authors can have their code left out "
        "before training (`exclude:`).\n"
        "  * The license of each file holds, attribution included (`detected_licenses` in `meta`).\n"
        "  * Removals are followed: update to the newest usable version of the ids, and do not keep what it dropped.\n"
        'If you accept that, add --accept-terms softwareheritage (accept_terms="softwareheritage"); '
        "once on this machine is enough."
    )
}
"""What is accepted by each name: the terms of use of The Stack v2, and the statement that they refer to."""

UNACCEPTED = "it has blob ids of Software Heritage, whose terms are below"


def accepted_terms(name: str, asked: Sequence[str] | str | None) -> bool:
    """Whether terms are accepted, now (which is noted in HF_HOME/smollm3_mix/terms) or on this machine before.

    Args:
        name: of TERMS.
        asked: names that are accepted now.

    Raises:
        ValueError: there are no terms of a name in `asked`.
    """
    from huggingface_hub import constants

    given = (asked,) if isinstance(asked, str) else tuple(asked or ())
    unknown = [each for each in given if each not in TERMS]
    if unknown:
        raise ValueError(f"there are no terms {unknown[0]!r} to accept; there are: {', '.join(TERMS)}")
    note = Path(constants.HF_HOME) / "smollm3_mix" / "terms" / name
    if name in given and not note.exists():
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        except OSError as error:
            log.warning("%s cannot be written (%s): the terms have to be accepted again next time", note, error)
    return name in given or note.exists()
