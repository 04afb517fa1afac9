"""What a source's license is called on the Hub, and whether it lets others be given the text.

Not legal advice: a table of what the licenses themselves say, on the careful side. A license that is not in it counts
as unknown, and a mix with an unknown license in it is pushed as a private repository.

Lets the text be shared: public domain (CC0, PDDL, Unlicense); open database licenses, which ask that the notice goes
along (ODC-By, ODbL, CDLA); Creative Commons with attribution, for any purpose (BY), under the same license (BY-SA) or
without payment (BY-NC, BY-NC-SA: the Hub takes none); permissive and copyleft licenses of software, whose text is the
source itself.
Does not: Creative Commons without derivatives (BY-ND), since cleaning alters a text; "per file" and the like, where
each document has its own; anything not stated.
"""

from dataclasses import dataclass

SHARED = frozenset(
    """
    cc0-1.0 pddl unlicense odc-by odbl cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 etalab-2.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    apache-2.0 mit bsd-2-clause bsd-3-clause isc zlib bsl-1.0 postgresql wtfpl artistic-2.0 ncsa
    mpl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gfdl gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 agpl-3.0
    """.split()  # noqa: SIM905 - one line for each kind
)
"""Licenses that let the text be shared, as the Hub writes them (hub/repositories-licenses in its documentation)."""

KEPT = frozenset(["cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"])
"""Licenses the Hub has a name for that do not let an altered text be shared."""

ALIASES = {
    "odc-by-1.0": "odc-by",
    "odbl-1.0": "odbl",
    "pddl-1.0": "pddl",
    "cc0": "cc0-1.0",
    "apache 2.0": "apache-2.0",
    "gfdl-1.3": "gfdl",
    **{
        f"{name}-{end}": name
        for name in ("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0")
        for end in ("only", "or-later")
    },
}
"""Other spellings, SPDX's above all, in lower case."""

UNNAMED = frozenset({"psf-2.0"})
"""Licenses that let the text be shared, and that the Hub has no name for."""


@dataclass(frozen=True)
class License:
    """What is known of a license.

    Attributes:
        hub: its id in a card's metadata; `other` where the Hub has none, `unknown` where the recipe states none.
        shared: whether it lets the text be given to others.
    """

    hub: str
    shared: bool


def classify_license(stated: str | None) -> License:
    """What is known of the license that a recipe states for a source; None: it states none."""
    if stated is None or not stated.strip():
        return License("unknown", False)
    name = stated.strip().lower()
    name = ALIASES.get(name, name)
    if name in SHARED | KEPT:
        return License(name, name in SHARED)
    return License("other", name in UNNAMED)
