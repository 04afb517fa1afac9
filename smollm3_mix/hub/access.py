"""Decide whether a mix may be public, and prepare its repository before anything is uploaded."""

import logging
from collections.abc import Collection, Iterable

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.repository import Repository
from smollm3_mix.output.card.licenses import classify_license
from smollm3_mix.recipe.model import Source

log = logging.getLogger("smollm3_mix")


def restricted_licenses(sources: Iterable[Source], allow_public: Collection[str]) -> dict[str, str]:
    """Return the licenses, by source id, that do not allow a public repository.

    Args:
        sources: Sources of the mix.
        allow_public: Ids of sources that may be public anyway.

    Raises:
        OutputError: If `allow_public` has an unknown id.
    """
    used = {source.id: source for source in sources}
    unknown = sorted(set(allow_public) - set(used))
    if unknown:
        raise OutputError(
            f"--allow-public {unknown[0]!r} is not a source of the mix. Its sources are {', '.join(used)}."
        )
    return {
        name: source.license or "not stated"
        for name, source in used.items()
        if name not in allow_public and not classify_license(source.license).shareable
    }


def prepare_repository(
    repository: Repository, sources: Iterable[Source], *, private: bool | None, allow_public: Collection[str]
) -> None:
    """Create the repository and its branch if they are missing, and check write access and visibility.

    Raises:
        HubError: If the token is missing or cannot write.
        OutputError: If the repository is public but must not be, or has a loading script.
    """
    reasons = restricted_licenses(sources, allow_public)
    repository.user()
    is_private = repository.private()
    if is_private is False and private:
        raise OutputError(
            f"{repository.name} is public, but --private was given. Push to another repository.",
            path=repository.url,
        )
    if is_private is False and reasons:
        raise OutputError(
            f"{repository.name} is public, but the license does not allow sharing the text of {_listed(reasons)}. Push "
            f"to another repository, make this one private, or allow it: --allow-public {next(iter(reasons))}"
            f"{' …' if len(reasons) > 1 else ''}",
            path=repository.url,
        )
    if is_private is None and reasons and not private:
        log.warning(
            "Creating %s as a private repository: the license does not allow sharing the text of %s.",
            *(repository.name, _listed(reasons)),
        )
    if is_private is None:
        repository.create(private=bool(private or reasons))
    repository.create_branch()
    repository.check_write_access()
    script = f"{repository.name.split('/')[1]}.py"
    if script in repository.files():
        raise OutputError(
            f"{repository.name} contains {script}, and datasets 4 and later reject a repository with a script of its "
            "own name. Remove the script, or push to a repository with another name.",
            path=repository.url,
        )


def _listed(reasons: dict[str, str]) -> str:
    first = [f"{source} ({stated})" for source, stated in list(reasons.items())[:5]]
    return ", ".join(first) + (f" and {len(reasons) - 5} more" if len(reasons) > 5 else "")
