"""Every repository that a SmolLM3 recipe names, in small: its folders, its card, its file format and its columns.

The texts are made up. Columns and files are as the repositories had them in 2025, as far as they are read or are in the
way: texts beside embeddings, nested answers, ids of blobs in place of texts, configs that only the card names.
"""

import gzip
import hashlib
import io
import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import WORDS

from smollm3_mix.recipe.model import Source

WEB = {"dump": "CC-MAIN-2024-10", "url": "https://example.org/", "file_path": "s3://commoncrawl/warc.gz"}
DOLMINO = {"added": "2024-11-24", "created": "2024-01-01", "source": "dolmino", "version": "v1", "metadata": {"n": 1}}
OTHERS: dict[str, dict[str, Any]] = {
    "HuggingFaceFW/fineweb-edu": WEB | {"language": "en", "language_score": 0.97, "score": 3.2, "int_score": 3},
    "mlfoundations/dclm-baseline-1.0-parquet": {"metadata": {"Content-Type": "warc"}, "previous_word_count": 9},
    "mlfoundations/dclm-baseline-1.0": {
        "metadata": {"Content-Type": "warc"},
        "warcinfo": "robots: classic",
        "url": "u",
    },
    "epfml/FineWeb2-HQ": WEB | {"quality_score": 0.4, "embeddings": [[0.5] * 8]},
    "HuggingFaceFW/fineweb-2": WEB | {"language": "kor", "language_script": "Hang", "top_langs": "{}"},
    "HuggingFaceTB/finemath": {"url": "https://example.org/", "token_count": 9, "score": 4.1, "int_score": 4},
    "HuggingFaceTB/smollm-corpus": {"prompt": "Write.", "token_length": 9, "audience": "general", "seed_data": "web"},
    "allenai/dolmino-mix-1124": DOLMINO,
    "nvidia/OpenMathInstruct-2": {"expected_answer": "42", "problem_source": "augmented_gsm8k"},
    "nvidia/OpenMathReasoning": {"expected_answer": "42", "problem_type": "has_answer_extracted"},
    "nvidia/OpenCodeReasoning": {"source": "code_contests", "difficulty": "EASY", "solution": "pass"},
    "facebook/natural_reasoning": {"reference_answer": ""},
    "HuggingFaceTB/stack-edu": {"score": 3.5, "int_score": 4},
    "bigcode/the-stack-v2": {"directory_id": "0" * 40, "is_vendor": False, "is_generated": False, "extension": "x"},
}
"""Columns beside those that are read."""

BLOBS = ("HuggingFaceTB/stack-edu", "bigcode/the-stack-v2")
PIECES, ROWS = 2, 16
"""Files of a source, and its rows."""


def text(source: str, number: int) -> str:
    """A text of a few lines that the rules for prose, mathematics and code all keep."""
    words = random.Random(f"{source} {number}").choices(WORDS, k=40)
    lines = [" ".join(words[start : start + 10]) + "." for start in range(0, 40, 10)]
    return "\n".join([f"{source}, number {number}.", *lines])


def texts(source: Source) -> list[str]:
    """Return the texts that a mix emits for a source, row by row."""
    parts = source.text_field if isinstance(source.text_field, tuple) else ("text",)
    return [
        "\n\n".join(text(f"{source.id} {part}", number) for part in parts)
        if len(parts) > 1
        else text(source.id, number)
        for number in range(ROWS)
    ]


def repositories(sources: list[Source]) -> tuple[dict[str, dict[str, bytes]], dict[str, bytes]]:
    """Content by path by repository, and what Software Heritage has: gzipped contents by id."""
    found: dict[str, dict[str, bytes]] = {}
    configs: dict[str, list[dict[str, Any]]] = {}
    blobs: dict[str, bytes] = {}
    for source in sources:
        name = source.name or ""
        rows = [_row(source, number, blobs) for number in range(ROWS)]
        folder, ending = _place(source)
        for piece in range(PIECES):
            path = f"{folder}/{source.split}-{piece:05}-of-{PIECES:05}{ending}"
            found.setdefault(name, {})[path] = _file(rows[piece::PIECES], ending, large=name in BLOBS)
        if source.data_dir is None and source.config is not None:
            files = [{"split": source.split, "path": f"{folder}/*{ending}"}]
            configs.setdefault(name, []).append({"config_name": source.config, "data_files": files})
    for name, named in configs.items():
        found[name]["README.md"] = f"---\n{yaml.safe_dump({'configs': named})}---\n".encode()
    return found, blobs


def _place(source: Source) -> tuple[str, str]:
    """Folder and ending of a source's files."""
    if source.name == "allenai/dolmino-mix-1124":
        synthetic = "synth" in (source.data_dir or "")
        return source.data_dir or f"data/{source.config}", ".jsonl" if synthetic else ".json.gz"
    if source.name == "mlfoundations/dclm-baseline-1.0":
        return "global-shard_01_of_10/local-shard_0_of_10", ".jsonl.zst"
    if source.name == "facebook/natural_reasoning":
        return "data", ".jsonl"
    return source.data_dir or f"data/{source.config or ''}".rstrip("/"), ".parquet"


def _row(source: Source, number: int, blobs: dict[str, bytes]) -> dict[str, Any]:
    """A row with the columns of its repository; the content of a blob goes to `blobs`."""
    row: dict[str, Any] = {"id": f"<urn:uuid:{source.id}-{number}>", **OTHERS.get(source.name or "", {})}
    if source.content == "swh":
        content = text(source.id, number).encode()
        blob = hashlib.sha1(content).hexdigest()
        blobs[blob] = gzip.compress(content, mtime=0)
        del row["id"]
        return row | {
            "blob_id": blob,
            "src_encoding": "UTF-8",
            "length_bytes": len(content),
            "language": str(source.config),
            "repo_name": "me/mine",
            "path": f"/{number}",
            "detected_licenses": ["MIT"],
            "license_type": "permissive",
        }
    for part in source.text_field if isinstance(source.text_field, tuple) else (source.text_field,):
        value = text(source.id if part == "text" else f"{source.id} {part}", number)
        head, _, inner = part.partition(".")
        row[head] = [{"response_model": "Llama3.3", inner: value}] if inner else value
    return row


def _file(rows: list[dict[str, Any]], ending: str, *, large: bool) -> bytes:
    out = io.BytesIO()
    if ending == ".parquet":
        table = pa.Table.from_pylist(rows)
        if large:  # as Stack-Edu has its strings
            kinds = [pa.large_string() if pa.types.is_string(each.type) else each.type for each in table.schema]
            table = table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))
        pq.write_table(table, out, row_group_size=5)
        return out.getvalue()
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    if ending == ".json.gz":
        return gzip.compress(lines, mtime=0)
    return pa.compress(lines, "zstd", asbytes=True) if ending == ".jsonl.zst" else lines
