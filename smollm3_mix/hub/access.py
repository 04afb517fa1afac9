"""Whether a mix may be public, and a repository made ready for it before anything is sent."""

import logging
from collections.abc import Collection, Iterable

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.repository import Repository
from smollm3_mix.output.card.licenses import classify_license
from smollm3_mix.recipe.model import Source

log = logging.getLogger("smollm3_mix")


def kept_private(sources: Iterable[Source], despite: Collection[str]) -> dict[str, str]:
    """License by id, of the sources that keep a mix private: none that is known to let their text be shared.

    Args:
        sources: what is in the mix.
        despite: ids of sources that the user takes it upon themselves to share.

    Raises:
        OutputError: there is no source of a name in `despite`.
    """
    used = {source.id: source for source in sources}
    strangers = sorted(set(despite) - set(used))
    if strangers:
        raise OutputError(
            f"--allow-public {strangers[0]!r} names no source of the mix; its sources are {', '.join(used)}."
        )
    return {
        name: source.license or "not stated"
        for name, source in used.items()
        if name not in despite and not classify_license(source.license).shareable
    }


def make_ready(repository: Repository, sources: Iterable[Source], *, private: bool, despite: Collection[str]) -> None:
    """Nothing; the repository is there, may be written, and is as private as its sources ask for.

    Raises:
        OutputError: there is no token, or it may not write; or the repository is public and must not be.
    """
    reasons = kept_private(sources, despite)
    repository.user()
    is_private = repository.private()
    if is_private is False and private:
        raise OutputError(f"{repository.name} is public, and --private was given. Push to another repository.")
    if is_private is False and reasons:
        raise OutputError(
            f"{repository.name} is public, and {_named(reasons)} not known to let the text be shared. Push to another "
            f"repository, make this one private, or give --allow-public {next(iter(reasons))}"
            f"{' and so on' if len(reasons) > 1 else ''} where you know that it may be."
        )
    if is_private is None and reasons and not private:
        log.warning("%s becomes private: %s not known to let the text be shared.", repository.name, _named(reasons))
    if is_private is None:
        repository.create(private=private or bool(reasons))
    repository.branch()
    repository.check_write_access()
    script = f"{repository.name.split('/')[1]}.py"
    if script in repository.files():
        raise OutputError(
            f"{repository.name} holds {script}: datasets 4 and later refuse a repository with a script of its own "
            "name. Remove the script, or push to a repository of another name."
        )


def _named(reasons: dict[str, str]) -> str:
    few = [f"{source} ({stated})" for source, stated in list(reasons.items())[:5]]
    more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    one = len(reasons) == 1
    return f"the license{'' if one else 's'} of {', '.join(few)}{more} {'is' if one else 'are'}"
