"""What to clean, and by which rules."""

from dataclasses import dataclass, fields

PROFILES = ("prose", "code", "math", "none")


@dataclass(frozen=True)
class Cleaning:
    """The rules `clean` follows for one source.

    Every profile but none puts text into Unicode NFC, removes what is not text (control characters, escape sequences of
    terminals, invisible characters) and ends lines with a line feed. Beyond that:

    * `prose` makes every space a plain one, runs of spaces inside a line one space (one tab where there is a tab among
      them), and removes soft hyphens, spaces at line ends, more than one blank line in a row, and space at both ends of
      the document. Indentation stays, and so do the inner spaces of quoted code: lines that begin with four spaces, a
      tab, `>>>` or `...`, and lines between fences of three backticks.
    * `math` does the same but for runs of spaces, which are the layout of formulas and matrices.
    * `code` leaves spaces alone, those at line ends too, since they are part of strings, of Markdown (a hard line
      break), patches and Makefiles; it removes blank lines at both ends of the document and keeps one final line feed.
    * `none` changes nothing.

    Args:
        profile: prose, code, math or none.
        mojibake: repair text that was decoded with the wrong encoding; needs the extra `mojibake` (ftfy).
        boilerplate: drop the lines that C4 drops as boilerplate (warnings to enable JavaScript, cookie and privacy
            notices, filler text; see `smollm3_mix.text.clean.boilerplate`); prose only.

    Raises:
        ValueError: an unknown profile, or an option that the profile does not have.
        TypeError: an option that is not true or false.
    """

    profile: str = "prose"
    mojibake: bool = False
    boilerplate: bool = False

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"clean: profile is one of {', '.join(PROFILES)}, not {self.profile!r}")
        for option in fields(self)[1:]:
            value = getattr(self, option.name)
            if not isinstance(value, bool):
                raise TypeError(f"clean: {option.name} is true or false, not {value!r}")
        if self.boilerplate and self.profile != "prose":
            raise ValueError(f"clean: boilerplate is for profile prose, not {self.profile}: leave boilerplate out")
        if self.mojibake and self.profile == "none":
            raise ValueError("clean: mojibake changes text and profile none changes nothing: take another profile")
