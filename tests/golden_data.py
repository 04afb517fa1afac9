"""Sources of the golden tests, the same bytes on every machine and with every version of every library.

The lanes of a source depend on the sizes of its Parquet files, which change with the version of pyarrow. So these files
are stored in `fixtures/golden/a`. `python tests/golden_data.py` writes them.
"""

import csv
import functools
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

FIXTURES = Path(__file__).parent / "fixtures" / "golden"
FILES = {"a/part-00.parquet": 90, "a/part-01.parquet": 70, "a/part-02.parquet": 50, "b/all.jsonl": 140, "c/all.csv": 60}
"""Rows of each file."""

GROUP = 12
"""Rows in a row group."""

VOCABULARY = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but have an had they "
    "you were their one all we can her has there been if more when will would who so water river letter kitchen garden "
    "engine number table winter answer machine village teacher history window market summer bridge island paper music "
    "forest travel mountain question company weather problem science morning picture children garlic copper satellite"
)
WORDS = VOCABULARY.split()


@functools.cache
def numbers(name: str, count: int) -> tuple[int, ...]:
    """Return `count` numbers below 65,536 that are drawn for a name."""
    data = b"".join(hashlib.sha256(f"{name} {block}".encode()).digest() for block in range(-(-count // 16)))
    return tuple(int.from_bytes(data[2 * n : 2 * n + 2], "little") for n in range(count))


def text(name: str) -> str:
    """Return sentences of 8 to 87 words that are drawn for a name."""
    length, *drawn = numbers(name, 88)
    words = [WORDS[number % len(WORDS)] for number in drawn[: 8 + length % 80]]
    sentences = [words[start : start + 11] for start in range(0, len(words), 11)]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)


def characters(name: str, first: int, count: int) -> str:
    """Return 60 characters out of `count` from code point `first` on, drawn for a name."""
    return "".join(chr(first + number % count) for number in numbers(name, 60))


def edited(original: str) -> str:
    """Return the text with its sixth word replaced."""
    words = original.split()
    return " ".join([*words[:5], "other", *words[6:]])


@functools.cache
def rows(source: str) -> list[dict[str, Any]]:
    """Return the rows of a source, with copies and near copies within and across sources."""
    count = sum(size for file, size in FILES.items() if file.startswith(f"{source}/"))
    texts: list[str | None] = [text(f"{source} {number}") for number in range(count)]
    if source == "a":
        for number in range(0, 40, 8):
            texts[number + 2] = characters(f"Chinese {number}", 0x4E00, 2000)
            texts[number + 5] = characters(f"Thai {number}", 0x0E01, 46)
            texts[204 - number] = texts[number]  # in another file, so often in another lane
        for number in range(60, 75, 3):
            texts[number] = edited(str(texts[number - 50]))
        texts[33], texts[120], texts[150] = "", None, "Too short."
        texts[40] = f"  {texts[40]}\r\n\r\n\r\n\u00ad  caf\u0065\u0301\u200b  "
    if source == "b":
        for number in range(0, 100, 10):
            texts[number] = rows("a")[number * 2 + 1]["text"]
            texts[number + 3] = edited(rows("a")[number + 4]["text"])
        texts[44], texts[45] = texts[43], edited(str(texts[42]))
    if source == "c":
        texts[7], texts[21] = rows("b")[12]["text"], rows("a")[77]["text"]
    return [
        {
            "text": each,
            "id": f"{source.upper()}{number:04d}",
            "url": f"https://example.org/{source}/{number % 45}",
            "score": numbers(f"score {source} {number}", 1)[0] % 5,
        }
        for number, each in enumerate(texts)
    ]


def write_lines(path: Path, found: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_bytes("".join(json.dumps(row) + "\n" for row in found).encode())


def write_sources(folder: Path) -> None:
    """Write the sources a (Parquet), b (JSON lines) and c (CSV) into a folder."""
    shutil.copytree(FIXTURES / "a", folder / "a")
    for source in "bc":
        (folder / source).mkdir()
    write_lines(folder / "b" / "all.jsonl", rows("b"))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows("c")[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows("c"))
    (folder / "c" / "all.csv").write_bytes(table.getvalue().encode())


def write_recipe(
    folder: Path, name: str = "mine", sources: dict[str, dict[str, Any]] | None = None, **top: Any
) -> Path:
    """Write a recipe over the three sources, and these sources unless they are there.

    Args:
        folder: Folder of the recipe and the sources.
        name: Name of the recipe.
        sources: Changes of single sources.
        top: Changes of the recipe.
    """
    if not (folder / "a").exists():
        write_sources(folder)
    datasets = [
        {"id": id_, "name": id_, "tokens_per_byte": ratio}
        | ({"weight": weight} if top.get("weighted", True) else {})
        | (sources or {}).get(id_, {})
        for id_, weight, ratio in (("a", 0.55, 0.23), ("b", 0.3, 0.25), ("c", 0.15, 0.31))
    ]
    content = {"seed": 11, "lanes": 3, "block": {"rows": 16, "bytes": 5000}, "on_exhausted": "stop", **top}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, "datasets": top.get("datasets", datasets)}, sort_keys=False), "utf-8")
    return path


def write_parquet() -> None:
    """Write the Parquet files of source a into the fixtures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (FIXTURES / "a").mkdir(parents=True, exist_ok=True)
    start = 0
    for file, size in FILES.items():
        if file.startswith("a/"):
            table = pa.Table.from_pylist(rows("a")[start : start + size])
            pq.write_table(table, FIXTURES / file, row_group_size=GROUP, compression="zstd")
            start += size


if __name__ == "__main__":
    write_parquet()
