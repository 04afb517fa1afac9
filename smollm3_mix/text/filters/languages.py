"""Stop words and thresholds that FineWeb-2 published for each language of the mixture of SmolLM3.

Source: configs/*.yml of huggingface/fineweb-2 (commit d0defb2, 2025-10-27). The thresholds were chosen so that each
language loses about the same share of text as English (Penedo et al. 2025, arXiv 2506.20920). They were measured on the
words of a tokenizer per language, which separates punctuation. Words here are separated by white space, so the mean
word is about half a character longer, and fewer words have no letter. Both keep more text. Omitted: elided forms (l',
d'), punctuation and Korean particles, because none of them is surrounded by spaces.
"""

from typing import NamedTuple

ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's stop words (Rae et al. 2021, appendix A1.1)."""


class Language(NamedTuple):
    """FineWeb-2's thresholds for one language.

    Attributes:
        mean_word_chars: Minimum and maximum.
        alphabetic_words: Minimum share.
        punctuated_lines: Minimum share.
        newlines_per_word: Maximum.
        duplicate_lines: Maximum share.
        tops: Maximum shares of the top 2-, 3- and 4-gram.
        duplicates: Maximum shares of duplicate 5- to 10-grams.
        stop_words: Stop words, separated by spaces.
    """

    mean_word_chars: tuple[int, int]
    alphabetic_words: float
    punctuated_lines: float
    newlines_per_word: float
    duplicate_lines: float
    tops: tuple[float, float, float]
    duplicates: tuple[float, float, float, float, float, float]
    stop_words: str


LANGUAGES = {
    "arb": Language(
        (2, 9),
        0.787,
        0.143,
        0.189,
        0.304,
        (0.197, 0.172, 0.146),
        (0.165, 0.153, 0.142, 0.131, 0.12, 0.109),
        "في من على إلى عام أن مع أو هو عن التي كان بين ما كانت هي المتحدة بعد",
    ),
    "cmn": Language(
        (1, 5),
        0.735,
        0.106,
        0.178,
        0.287,
        (0.256, 0.201, 0.171),
        (0.198, 0.182, 0.167, 0.154, 0.14, 0.127),
        "的 年 在 月 是 和 日 了 於 為 有 被 人 中 为 他 與 後 也 而 由",
    ),
    "deu": Language(
        (0, 15),
        0.774,
        0,
        0.152,
        0.263,
        (0.169, 0.153, 0.137),
        (0.141, 0.134, 0.126, 0.117, 0.108, 0.098),
        "der und die in von im den des mit das er dem als wurde für",
    ),
    "ell": Language(
        (3, 11),
        0.809,
        0.167,
        0.116,
        0.31,
        (0.194, 0.175, 0.156),
        (0.174, 0.163, 0.153, 0.142, 0.13, 0.119),
        "του και το της η την από ο με τον να που των στην για στο σε είναι τη τα οι",
    ),
    "fas": Language(
        (2, 9),
        0.812,
        0.2,
        0.15,
        0.246,
        (0.189, 0.164, 0.143),
        (0.157, 0.147, 0.137, 0.127, 0.117, 0.107),
        "در و به از که است این را با یک",
    ),
    "fra": Language(
        (2, 11),
        0.812,
        0.1,
        0.185,
        0.264,
        (0.161, 0.149, 0.134),
        (0.15, 0.141, 0.131, 0.121, 0.111, 0.1),
        "de la le et à en des du les est un une il dans par au",
    ),
    "hin": Language(
        (2, 21),
        0.837,
        0.091,
        0.316,
        0.206,
        (0.208, 0.198, 0.161),
        (0.135, 0.125, 0.116, 0.108, 0.099, 0.09),
        "के में है की और से का को एक हैं पर",
    ),
    "ita": Language(
        (3, 21),
        0.807,
        0.025,
        0.2,
        0.246,
        (0.198, 0.156, 0.133),
        (0.144, 0.136, 0.127, 0.118, 0.109, 0.1),
        "di e il la in a del che è della un per nel con da i una",
    ),
    "jpn": Language(
        (1, 6),
        0.759,
        0.096,
        0.13,
        0.328,
        (0.239, 0.196, 0.172),
        (0.243, 0.225, 0.207, 0.19, 0.175, 0.159),
        "の に を は た て が と で 年 し 月 れ さ",
    ),
    "kor": Language(
        (1, 6),
        0.791,
        0.062,
        0.196,
        0.374,
        (0.282, 0.228, 0.185),
        (0.201, 0.184, 0.168, 0.154, 0.14, 0.127),
        "",
    ),
    "pol": Language(
        (3, 12),
        0.726,
        0.087,
        0.158,
        0.32,
        (0.222, 0.198, 0.176),
        (0.172, 0.16, 0.148, 0.136, 0.123, 0.111),
        "w i na z do się roku od a jest przez po jako oraz o został był nie",
    ),
    "por": Language(
        (3, 13),
        0.814,
        0.077,
        0.186,
        0.287,
        (0.371, 0.191, 0.163),
        (0.163, 0.153, 0.141, 0.13, 0.119, 0.108),
        "de a e o em do da que um no uma com para na é foi",
    ),
    "rus": Language(
        (3, 11),
        0.713,
        0.231,
        0.139,
        0.322,
        (0.184, 0.164, 0.146),
        (0.168, 0.156, 0.145, 0.133, 0.121, 0.109),
        "в и на с года по году из был к не от что за для его как а он также до после",
    ),
    "spa": Language(
        (3, 14),
        0.825,
        0.182,
        0.138,
        0.252,
        (0.156, 0.14, 0.125),
        (0.145, 0.136, 0.127, 0.117, 0.108, 0.099),
        "de la en el y a que del los se por un con una las su",
    ),
    "tha": Language(
        (2, 10),
        0.9,
        0,
        0.153,
        0.349,
        (0.221, 0.197, 0.162),
        (0.185, 0.168, 0.152, 0.137, 0.124, 0.111),
        "ใน ที่ และ ของ เป็น มี การ ได้",
    ),
    "tur": Language(
        (3, 21),
        0.773,
        0.091,
        0.222,
        0.272,
        (0.214, 0.168, 0.147),
        (0.154, 0.144, 0.134, 0.124, 0.113, 0.103),
        "ve bir olarak bu ile için olan da de tarafından yılında sonra en daha ilk the",
    ),
    "ukr": Language(
        (3, 11),
        0.694,
        0.167,
        0.175,
        0.3,
        (0.189, 0.172, 0.153),
        (0.16, 0.148, 0.136, 0.124, 0.113, 0.102),
        "у в на і з та до року за що",
    ),
    "vie": Language(
        (3, 11),
        0.803,
        0.333,
        0.103,
        0.293,
        (0.223, 0.197, 0.171),
        (0.178, 0.163, 0.15, 0.136, 0.124, 0.111),
        "là và của một được trong năm các có loài này đã người",
    ),
}
"""Languages by ISO 639-3 code."""

_SHORT = {
    "ar": "arb",
    "ara": "arb",
    "de": "deu",
    "el": "ell",
    "es": "spa",
    "fa": "fas",
    "fr": "fra",
    "hi": "hin",
    "it": "ita",
    "ja": "jpn",
    "ko": "kor",
    "pes": "fas",
    "pl": "pol",
    "pt": "por",
    "ru": "rus",
    "th": "tha",
    "tr": "tur",
    "uk": "ukr",
    "vi": "vie",
    "zh": "cmn",
    "zho": "cmn",
}


def find_language(tag: str | None) -> Language | None:
    """Return the thresholds of the language of a tag such as fr, fra, fra_Latn or pt-BR. None if it is unknown."""
    return LANGUAGES.get(_code(tag))


def stop_words(tag: str | None) -> tuple[str, ...]:
    """Return the stop words of the language of a tag such as en, fra or vie_Latn. Empty if there is no list."""
    if _code(tag) in ("en", "eng"):
        return ENGLISH
    found = find_language(tag)
    return tuple(found.stop_words.split()) if found else ()


def _code(tag: str | None) -> str:
    code = (tag or "").replace("-", "_").partition("_")[0].lower()
    return _SHORT.get(code, code)
