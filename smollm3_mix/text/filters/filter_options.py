"""Filter options of a source."""

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
    """Rules for the documents of one source. Without rules, only empty documents are dropped.

    A group of rules is an instance with its thresholds, True for the published thresholds, False for none, or None for
    those of the preset. Without a preset, None is the same as False.

    Attributes:
        preset: prose, code or math: rules for that kind of text, lenient enough for sources that are already filtered.
            fineweb2: rules of FineWeb-2 for the language. kind: the preset of the kind of the source. See `presets`.
        language: Language of the texts (en, fra, cmn_Hani). Selects stop words and the thresholds of fineweb2. Unknown
            by default, without stop words.
        min_chars: Minimum number of code points → too_short.
        max_chars: Maximum number of code points → too_long.
        gopher_quality, gopher_repetition, c4, fineweb, code: Groups of rules.
        python: Custom function for blocks of texts, as "module:function". See `custom_filter`. Must be rejected in
            recipes from untrusted sources.

    Raises:
        ValueError: If the preset is unknown, or a limit is invalid.
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
            raise ValueError(f'python: expected "module:function", for example "my_rules:reasons", got {self.python!r}')
        for name, group in _GROUPS.items():
            if getattr(self, name) is True:
                object.__setattr__(self, name, group())

    def for_kind(self, kind: str, language: str | None) -> "FilterOptions":
        """Return a copy in which `preset: kind` and an unset language are replaced by those of a source.

        Args:
            kind: Kind of the source. Any word other than prose, code and math selects no preset.
            language: Language of the source, as in `language`.
        """
        chosen = self.preset
        if chosen == "kind":
            chosen = kind if kind in PRESETS else None
        return replace(self, preset=chosen, language=language if self.language is None else self.language)

    def expand_preset(self) -> "FilterOptions":
        """Return a copy in which the preset is replaced by its rules. Each group is an instance or None.

        Raises:
            ValueError: If the preset is `kind` and the kind is unknown.
        """
        if self.preset == "kind":
            raise ValueError("preset: kind requires the kind of a source. Call for_kind() first, or name a preset")
        rules = find_preset(self.preset, self.language)
        groups = {}
        for name in _GROUPS:
            value = getattr(self, name)
            groups[name] = (rules.get(name) if value is None else value) or None
        return replace(self, preset=None, **groups)
