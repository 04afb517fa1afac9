"""License ids of the Hub, and whether a license allows sharing the text.

This is a conservative table of what the licenses say, not legal advice. A license that is not in the table counts as
unknown. A mix with an unknown license is pushed to a private repository.

Sharing is allowed by public domain licenses (CC0, PDDL, Unlicense), by open database licenses, which require that the
notice is kept (ODC-By, ODbL, CDLA), by Creative Commons licenses with attribution (BY, BY-SA, and BY-NC and BY-NC-SA,
because the Hub takes no payment), and by permissive and copyleft software licenses, where the text is the source code.
Sharing is not allowed by Creative Commons licenses without derivatives (BY-ND), because cleaning changes the text, by
entries such as "per file", where every document has its own license, and without a stated license.
"""

from dataclasses import dataclass

SHAREABLE = frozenset(
    """
    cc0-1.0 pddl unlicense odc-by odbl cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 etalab-2.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    apache-2.0 mit bsd-2-clause bsd-3-clause isc zlib bsl-1.0 postgresql wtfpl artistic-2.0 ncsa
    mpl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gfdl gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 agpl-3.0
    """.split()  # noqa: SIM905 - one line per kind
)
"""Ids of licenses that allow sharing the text (hub/repositories-licenses in the documentation of the Hub)."""

RESTRICTED = frozenset(["cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"])
"""Ids of licenses that do not allow sharing a changed text."""

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
"""Other spellings in lower case, mostly from SPDX."""

UNNAMED = frozenset({"psf-2.0"})
"""Licenses that allow sharing the text and have no id on the Hub."""


@dataclass(frozen=True)
class License:
    """A classified license.

    Attributes:
        hub: Id in the metadata of a card. `other` if the Hub has none, `unknown` if the recipe states none.
        shareable: Whether it allows sharing the text.
    """

    hub: str
    shareable: bool


def classify_license(stated: str | None) -> License:
    """Classify the license that a recipe states for a source. None means that it states none."""
    if stated is None or not stated.strip():
        return License("unknown", False)
    name = stated.strip().lower()
    name = ALIASES.get(name, name)
    if name in SHAREABLE | RESTRICTED:
        return License(name, name in SHAREABLE)
    return License("other", name in UNNAMED)
