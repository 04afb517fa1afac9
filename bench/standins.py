"""Measure memory, open files and startup time of `smollm3-mix take stage3`, on local stand-ins for all 56 sources.

    python bench/standins.py CORPUS [--hub hubserver.py] [--megabytes 17] [--keep DIR]

CORPUS contains Parquet files with a column `text`, in folders named as on the Hub. Their text is written in the layouts
of stage 3's own repositories (Parquet with all columns, json.gz, jsonl.zst, columns to be joined, nested answers), with
`--megabytes` of it for each source. With 16 lanes, each lane then has two full blocks of every source. Unavailable
sources get a stand-in too, and code has its text inline. The official ids, weights and everything else stay.

`take --max-samples 100` then runs as a child process, with one lane and with 16, on the folders. With `--hub`, a script
that serves such folders as a Hub on loopback, it also runs over HTTP with 50 ms added to every request and an empty
cache.
"""

import argparse
import contextlib
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from slow_hub import served

RECIPE = Path(__file__).parents[1] / "configs" / "stage3.smollm3_mix.yaml"
LATENCY = 0.05
"""Seconds added to every request."""

SHARDS, GROUP = 4, 1000
"""Files of a source, and rows in a row group (what `datasets` and datatrove write)."""

EMBEDDING = 128
"""Numbers in a row's embedding (FineWeb2-HQ's have 768): a column that must not be read."""

ORIGINS = {
    "dclm": ["dclm"],
    "cosmopedia2": ["dclm"],
    "fw2-cmn": ["fineweb-2/data/cmn_Hani"],
    "fw2-deu": ["fineweb-2/data/deu_Latn"],
    "fw2-ell": ["fineweb-2/data/ell_Grek"],
    "fw2-fra": ["fineweb-2/data/fra_Latn"],
    "fw2-hin": ["fineweb-2/data/hin_Deva"],
    "fw2-fas": ["fineweb-2/data/fas_Arab"],
    "fw2-ita": ["fineweb-2/data/ita_Latn"],
    "fw2-jpn": ["fineweb-2/data/jpn_Jpan"],
    "fw2-kor": ["fineweb-2/data/kor_Hang"],
    "fw2-por": ["fineweb-2/data/por_Latn"],
    "fw2-rus": ["fineweb-2/data/rus_Cyrl"],
    "fw2-spa": ["fineweb-2/data/spa_Latn"],
    "fw2-tha": ["fineweb-2/data/vie_Latn"],
    "fw2-vie": ["fineweb-2/data/vie_Latn"],
    "multilingual_wiki": ["fineweb-2/data/pol_Latn", "fineweb-2/data/ukr_Cyrl"],
    "stackexchange": ["stackexchange"],
    "github-issues": ["issues"],
    "pull-requests": ["issues"],
    "kaggle": ["stack-edu/Python"],
    "jupyter-scripts": ["stack-edu/Python"],
    "open-codereasoning-4k": ["stack-edu/Python"],
    "stack-edu-HTML": ["stack-edu/Markdown"],
    "stack-edu-real-shuffled-C-Sharp": ["stack-edu/Java"],
    "stack-edu-real-shuffled-PHP": ["stack-edu/JavaScript"],
    "stack-edu-real-shuffled-Swift": ["stack-edu/TypeScript"],
    "stack-edu-real-shuffled-SQL": ["stack-edu/SQL", "stack-edu/Shell"],
}
"""Folders below CORPUS whose text replaces a source. The default is the language of Stack-Edu, or the kind."""

BY_KIND = {"prose": ["fineweb-edu"], "math": ["finemath"], "code": ["stack-edu/Python"]}
HOMELESS = "stand-ins"
"""Owner of the repositories of sources that have none."""


class Shape(NamedTuple):
    """Layout of a source's rows in its repository. `write` takes rows and a path without ending."""

    write: Callable[[pa.Table, Path], None]
    ending: str


def origins(source: dict[str, Any]) -> list[str]:
    """Return the folders whose text replaces a source."""
    own = source["id"].removeprefix("stack-edu-real-shuffled-")
    if own != source["id"] and source["id"] not in ORIGINS:
        return [f"stack-edu/{own}"]
    return ORIGINS.get(source["id"], BY_KIND[source["kind"]["type"]])


def rows(corpus: Path, source: dict[str, Any], size: int) -> pa.Table:
    """Return complete rows of the corpus with `size` bytes of text, repeated from the beginning if it has less.

    Each text ends with the source's id and the number of the round, so that none is the duplicate of another.
    """
    tables, round_ = [], 0
    paths = [path for folder in origins(source) for path in sorted((corpus / folder).rglob("*.parquet"))]
    if not paths:
        raise SystemExit(
            f"{corpus} has no Parquet files in {', '.join(origins(source))}; name the folder that holds them"
        )
    while size > 0:
        for path in paths:
            table = pq.ParquetFile(path).read()
            texts = table["text"].cast(pa.string())
            within = np.cumsum(pc.binary_length(texts).to_numpy()) < size
            taken = max(int(within.sum()), 1)
            marked = pc.binary_join_element_wise(texts.slice(0, taken), f"{source['id']} {round_}", "\n\n")
            place = table.column_names.index("text")
            kept = table.slice(0, taken)
            tables.append(kept.set_column(place, "text", marked.cast(table.schema.field("text").type)))
            size -= int(pc.sum(pc.binary_length(marked)).as_py())
            if size <= 0:
                break
        round_ += 1
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def as_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=GROUP, compression="zstd")


def with_embeddings(table: pa.Table, path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal((len(table), EMBEDDING), np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), EMBEDDING)
    as_parquet(table.append_column("embeddings", column), path)


def two_columns(first: str, second: str) -> Callable[[pa.Table, Path], None]:
    """Return each text as two halves, to be joined again."""

    def write(table: pa.Table, path: Path) -> None:
        texts = table["text"].to_pylist()
        halves = {first: [t[: len(t) // 2] for t in texts], second: [t[len(t) // 2 :] for t in texts]}
        as_parquet(pa.table(halves | {"expected_answer": ["42"] * len(texts)}), path)

    return write


def _lines(table: pa.Table) -> Iterator[bytes]:
    for number, text in enumerate(table["text"].to_pylist()):
        row = {
            "id": f"{number:08}",
            "text": text,
            "source": "stand-in",
            "added": "2024-11-24",
            "metadata": {"n": number},
        }
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def as_gzip(table: pa.Table, path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=6) as out:
        out.writelines(_lines(table))


def as_zstd(table: pa.Table, path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        for line in _lines(table):
            out.write(line)


def nested(table: pa.Table, path: Path) -> None:
    with path.open("wb") as out:
        for text in table["text"].to_pylist():
            answers = [{"response_model": "stand-in", "response": text[len(text) // 3 :]}]
            row = {"question": text[: len(text) // 3], "reference_answer": "", "responses": answers}
            out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def shape(source: dict[str, Any]) -> Shape:
    """Return the layout of the source's own repository."""
    repo, fields = source.get("name"), source.get("text_field")
    if repo == "allenai/dolmino-mix-1124":
        return Shape(as_zstd, ".jsonl.zst") if "data_dir" in source else Shape(as_gzip, ".json.gz")
    if repo == "facebook/natural_reasoning":
        return Shape(nested, ".jsonl")
    if isinstance(fields, list):
        return Shape(two_columns(*fields), ".parquet")
    return Shape(with_embeddings if repo == "epfml/FineWeb2-HQ" else as_parquet, ".parquet")


def repository(source: dict[str, Any]) -> str:
    """Return the source's repository on the Hub, or a made-up one."""
    return source.get("name") or f"{HOMELESS}/{source['id']}"


def make(corpus: Path, root: Path, size: int) -> list[dict[str, Any]]:
    """Write all stand-ins below `root/<owner>/<name>`. Return the sources of stage 3, with their new locations."""
    sources = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["datasets"]
    configs: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        form, repo = shape(source), repository(source)
        folder = source.get("data_dir") or f"data/{source['id']}"
        (root / repo / folder).mkdir(parents=True, exist_ok=True)
        table = rows(corpus, source, size)
        cuts = np.linspace(0, len(table), SHARDS + 1).astype(int).tolist()
        for shard, (start, stop) in enumerate(pairwise(cuts)):
            path = root / repo / folder / f"train-{shard:05}-of-{SHARDS:05}{form.ending}"
            form.write(table.slice(start, stop - start), path)
        if "data_dir" not in source:
            files = [{"split": source.get("split", "train"), "path": f"{folder}/*{form.ending}"}]
            configs.setdefault(repo, []).append({"config_name": source.get("config", "default"), "data_files": files})
        for key in ("unavailable", "content", "gated", "deviation"):
            source.pop(key, None)
        source["name"] = repo
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for repo, found in configs.items():
        card = yaml.safe_dump({"configs": found}, sort_keys=False)
        (root / repo / "README.md").write_text(f"---\n{card}---\n", encoding="utf-8")
    return sources


def write_recipe(sources: list[dict[str, Any]], path: Path, root: Path | None) -> Path:
    """Write stage 3 with these sources, in the folders below `root` or in repositories."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    named = [{**source, "name": str(root / source["name"]) if root else source["name"]} for source in sources]
    path.write_text(yaml.safe_dump({**recipe, "datasets": named}, sort_keys=False), encoding="utf-8")
    return path


def take(recipe: Path, lanes: int, environment: dict[str, str]) -> str:
    """Run `take` and return its own report and what was measured from outside."""
    command = [
        sys.executable,
        "-m",
        "smollm3_mix",
        "take",
        str(recipe),
        "--max-samples",
        "100",
        "--lanes",
        str(lanes),
    ]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | environment)
    seen: dict[str, int] = {}
    watcher = threading.Thread(target=_watch, args=(child.pid, seen))
    watcher.start()
    out, errors = child.communicate()
    watcher.join()
    seconds = time.perf_counter() - started
    report = errors.decode()
    if child.returncode:
        raise SystemExit(f"take failed with {child.returncode}:\n{report[-4000:]}")
    own = next(line for line in report.splitlines() if line.startswith("First record after"))
    given = [json.loads(line)["source"] for line in out.splitlines()]
    return (
        f"{len(given)} records of {len(set(given))} sources in {seconds:.1f} s. {own}\n"
        f"  Most files open at once {seen.get('files', 'unknown')}, threads {seen.get('threads', 'unknown')}."
    )


def _watch(pid: int, seen: dict[str, int]) -> None:
    """Record the most files and threads of a process until it ends. Needs /proc."""
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        while True:
            for what, folder in (("files", "fd"), ("threads", "task")):
                seen[what] = max(seen.get(what, 0), len(list((process / folder).iterdir())))
            time.sleep(0.01)


def remotely(script: Path, root: Path, work: Path, recipe: Path, lanes: int) -> str:
    """Run `take` with an empty cache, from a slow Hub on loopback."""
    work.mkdir()
    repositories = {f"{path.parent.name}/{path.name}": path for path in sorted(root.glob("*/*"))}
    log = work / "requests.jsonl"
    with served(script, repositories, LATENCY, work, "--log", str(log)) as there:
        report = take(recipe, lanes, there)
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = Counter(_kind(request) for request in asked if "__admin__" not in request["path"])
    listed = "\n".join(f"  {number:5} {kind}" for kind, number in kinds.most_common())
    return f"{report}\n  {sum(kinds.values())} requests:\n{listed}"


def _kind(request: dict[str, Any]) -> str:
    """Return the kind of a request, without names, revisions and ranges."""
    path = request["path"].partition("?")[0]
    what = next((known for known in ("tree", "paths-info", "revision", "resolve") if f"/{known}/" in path), "info")
    if "/resolve-cache/" in path:
        what = "resolve-cache"
    if request.get("host") == "cdn":
        what = "storage"
    ending = Path(path).suffix
    if what in {"resolve", "resolve-cache"} and ending in {".md", ".py", ".yaml"}:
        what += f" *{ending}"
    return f"{request['method']} {what} → {request['status']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--hub", type=Path, help="script that serves folders as a Hub on loopback")
    parser.add_argument(
        "--megabytes", type=float, default=34, help="megabytes of text per source (default %(default)s)"
    )
    parser.add_argument("--keep", type=Path, help="folder for the stand-ins; created if missing, reused otherwise")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        root = (given.keep or work / "repositories").resolve()
        known = root / "sources.json"
        if not known.exists():
            sources = make(given.corpus.resolve(), root, int(given.megabytes * 1e6))
            known.write_text(json.dumps(sources), encoding="utf-8")
        sources = json.loads(known.read_text(encoding="utf-8"))
        local = write_recipe(sources, work / "local.yaml", root)
        for lanes in (1, 16):
            report = take(local, lanes, {"HF_HOME": str(work / "none")})
            print(f"{lanes} lane{'s' * (lanes > 1)}, local files:\n  {report}")
        if given.hub:
            remote = write_recipe(sources, work / "remote.yaml", None)
            for lanes in (1, 16):
                slow = f"over a Hub with {1000 * LATENCY:.0f} ms added to each request"
                report = remotely(given.hub.resolve(), root, work / f"remote-{lanes}", remote, lanes)
                print(f"{lanes} lane{'s' * (lanes > 1)}, {slow}:\n  {report}")


if __name__ == "__main__":
    main()
