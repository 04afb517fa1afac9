"""What a source's documents are judged by."""

from dataclasses import dataclass, replace
from typing import ClassVar

from smollm3_mix.text.filters.presets import PRESETS, find_preset
from smollm3_mix.text.filters.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition

_GROUPS = {
    "gopher_quality": GopherQuality,
    "gopher_repetition": GopherRepetition,
    "c4": C4,
    "fineweb": FineWeb,
    "code": Code,
}


@dataclass(frozen=True)
class FilterOptions:
    """Rules of one source; without any, only an empty document is dropped.

    A group of rules is an instance with its thresholds, True for the published ones, False for no such rules, None for
    what the preset says (without a preset: no such rules).

    Attributes:
        preset: prose, code or math: rules for that kind of text, lenient enough for sources that were filtered
            before; fineweb2: those of FineWeb-2 for the language; kind: the one for the source's kind. See `presets`.
        language: of the texts (en, fra, cmn_Hani): decides stop words and fineweb2; None = unknown, no stop words.
        min_chars: code points a text needs → too_short.
        max_chars: code points a text may have → too_long.
        gopher_quality, gopher_repetition, c4, fineweb, code: groups of rules.
        python: "module:function", a user's own function that gives reasons for a block of texts; see `own`. Whoever
            reads a recipe from elsewhere must refuse it.

    Raises:
        ValueError: an unknown preset, or a limit no document could be held against.
    """

    SHORTHAND: ClassVar[str] = "preset"
    preset: str | None = None
    language: str | None = None
    min_chars: int | None = None
    max_chars: int | None = None
    gopher_quality: GopherQuality | bool | None = None
    gopher_repetition: GopherRepetition | bool | None = None
    c4: C4 | bool | None = None
    fineweb: FineWeb | bool | None = None
    code: Code | bool | None = None
    python: str | None = None

    def __post_init__(self) -> None:
        known = (*PRESETS, "kind")
        if self.preset is not None and self.preset not in known:
            raise ValueError(f"preset: expected {', '.join(known[:-1])} or {known[-1]}, got {self.preset!r}")
        for name in ("min_chars", "max_chars"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: expected 0 or more, got {value}")
        if self.min_chars is not None and self.max_chars is not None and self.min_chars > self.max_chars:
            raise ValueError(f"min_chars: expected at most max_chars ({self.max_chars}), got {self.min_chars}")
        if self.python is not None and not all(self.python.partition(":")):
            raise ValueError(f'python: expected "module:function", such as "my_rules:reasons", got {self.python!r}')
        for name, group in _GROUPS.items():
            if getattr(self, name) is True:
                object.__setattr__(self, name, group())

    def for_kind(self, kind: str, language: str | None) -> "FilterOptions":
        """The same for a source of this kind and language: they stand in for `preset: kind` and a language not given.

        Args:
            kind: prose, code, math or another word; another means no preset.
            language: as in `language`.
        """
        chosen = self.preset
        if chosen == "kind":
            chosen = kind if kind in PRESETS else None
        return replace(self, preset=chosen, language=language if self.language is None else self.language)

    def expand_preset(self) -> "FilterOptions":
        """The same without a preset: its rules written out, each group an instance or None.

        Raises:
            ValueError: `preset: kind` without a kind.
        """
        if self.preset == "kind":
            raise ValueError("preset: kind needs a source's kind; name the preset, or ask for_kind")
        rules = find_preset(self.preset, self.language)
        groups = {}
        for name in _GROUPS:
            given = getattr(self, name)
            groups[name] = (rules.get(name) if given is None else given) or None
        return replace(self, preset=None, **groups)
