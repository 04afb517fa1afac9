"""Options of cleaning."""

from dataclasses import dataclass, fields

PROFILES = ("prose", "code", "math", "none")


@dataclass(frozen=True)
class Cleaning:
    """Cleaning options of one source.

    Every profile except none normalizes text to Unicode NFC, removes control characters, terminal escape sequences and
    invisible characters, and ends lines with a line feed. In addition:

    * `prose` replaces every space character by U+0020 and runs of spaces inside a line by one space, or by one tab if
      the run has a tab. It removes soft hyphens, spaces at line ends, all but one of consecutive blank lines, and white
      space at both ends of the document. It keeps indentation and the inner spaces of quoted code: lines that begin
      with four spaces, a tab, `>>>` or `...`, and lines between fences of three backticks.
    * `math` does the same, but keeps runs of spaces, which are the layout of formulas and matrices.
    * `code` keeps all spaces, also at line ends, because they matter in strings, Markdown (hard line breaks), patches
      and Makefiles. It removes blank lines at both ends of the document and keeps one final line feed.
    * `none` changes nothing.

    Args:
        profile: prose, code, math or none.
        mojibake: Repair text that was decoded with the wrong encoding. Requires the extra `mojibake` (ftfy).
        boilerplate: Drop lines that C4 drops as boilerplate: warnings to enable JavaScript, cookie and privacy notices,
            filler text. See `smollm3_mix.text.clean.boilerplate`. Only for prose.

    Raises:
        ValueError: If the profile is unknown or does not support an option.
        TypeError: If an option is not true or false.
    """

    profile: str = "prose"
    mojibake: bool = False
    boilerplate: bool = False

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"clean: profile must be one of {', '.join(PROFILES)}, got {self.profile!r}")
        for option in fields(self)[1:]:
            value = getattr(self, option.name)
            if not isinstance(value, bool):
                raise TypeError(f"clean: {option.name} must be true or false, got {value!r}")
        if self.boilerplate and self.profile != "prose":
            raise ValueError(f"clean: boilerplate requires profile prose, got {self.profile}. Remove boilerplate")
        if self.mojibake and self.profile == "none":
            raise ValueError("clean: mojibake repairs text, but profile none changes nothing. Choose another profile")
