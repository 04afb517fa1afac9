"""What a recipe keeps out beside what is judged: a list of what must not come out."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from smollm3_mix.exclude import digest, entries
from smollm3_mix.recipe.values import Faults

HUB = "hf://"


@dataclasses.dataclass(frozen=True)
class Exclude:
    """A list of what must not come out.

    Attributes:
        file: path of the list, tried beside the recipe and then here, or its `hf://datasets/<repo>/<path>`.
        sha256: of its entries, sorted; filled in when the recipe is read, or when the mix is opened if the list is on
            the Hub. What stands in a recipe already must be that of the list.
    """

    SHORTHAND: ClassVar[str] = "file"
    file: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.file:
            raise Faults("file: expected the path of a list, got ''")


def located(name: str, folder: str) -> str:
    """The path or URL of a file that a recipe names: as it is, else beside the recipe, else here."""
    if "://" in name:
        return name
    if folder.startswith(HUB):
        return f"{folder.rstrip('/')}/{name}"
    given = Path(name).expanduser()
    beside = Path(folder) / given
    return str(beside if beside.is_file() else given)


def listed(exclude: Exclude, path: str) -> list[str]:
    """The entries of a list that lies at a local path.

    Raises:
        Faults: it cannot be read, lists nothing, or is not the one the recipe is pinned to.
    """
    shown = repr(exclude.file)
    try:
        found = entries(Path(path).read_bytes())
    except FileNotFoundError:
        raise Faults(f"exclude: no file {shown} beside the recipe or here; make it, or mend the path") from None
    except OSError as error:
        raise Faults(f"exclude: {shown} cannot be read: {error.strerror}; name a file that can") from None
    except ValueError as error:
        raise Faults(f"exclude: {shown} {error}") from None
    if exclude.sha256 not in {None, digest(found)}:
        raise Faults(
            f"exclude: {shown} is not the list of sha256 {str(exclude.sha256)[:12]}… that the recipe is pinned to, but "
            f"of {digest(found)[:12]}…; put the old list back, or take `sha256` out"
        )
    return found


def pinned(exclude: Exclude | None, folder: str) -> Exclude | None:
    """The same with the digest of its entries, if it lies on this machine and has none.

    Raises:
        Faults: it cannot be read, or lists nothing.
    """
    if exclude is None or exclude.sha256 is not None:
        return exclude
    path = located(exclude.file, folder)
    return exclude if "://" in path else dataclasses.replace(exclude, sha256=digest(listed(exclude, path)))
