"""Outputs of the project that no refactoring may change, each as a digest.

A case is a function that makes some outputs in a folder and returns their digests by name. Digests are over values
alone: not over names of columns, of files that the project makes, or of keys in JSON.
"""

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import golden_names as names
import pyarrow.parquet as pq
import yaml
from golden_data import FILES, edited, rows, text, write_lines, write_recipe
from small_tokenizer import save

Digests = dict[str, str]
EXACT = {"dedup": {"exact": True}}
NEAR = {"dedup": {"exact": True, "near": {"bands": 14, "rows": 4, "ngram": 3, "jaccard": 0.6}}}
HOLDOUT = {"holdout": {"fraction": 0.2, "tokens": 1500}}
EOS = "<|endoftext|>"


def digest(found: Iterable[Sequence[Any]]) -> str:
    """Return the number of rows, and SHA-256 over them as JSON lists, one in a line."""
    whole, count = hashlib.sha256(), 0
    for values in found:
        whole.update(json.dumps(list(values), ensure_ascii=False).encode() + b"\n")
        count += 1
    return f"{count} {whole.hexdigest()}"


def values(record: dict[str, Any]) -> list[Any]:
    """Return the values of a record in the order of the schema, without the folder of its file and the keys of meta."""
    *most, file, row, meta = (record[column] for column in names.COLUMNS)
    return [*most, posixpath.basename(file), row, list(json.loads(meta).values())]


def records(recipe: Path, **options: Any) -> str:
    """Return the digest of the records of a mix."""
    return digest(map(values, names.open_mix(recipe, **options).stream()))


def window(found: dict[str, Any]) -> list[list[int]]:
    """Return the values of a window."""
    return [found[column].tolist() for column in names.WINDOW_COLUMNS]


STAGES: tuple[dict[str, Any], ...] = (
    {"c": {"weight": 0}},
    {"a": {"weight": 0.1}, "b": {"weight": 0.6}},
    {"b": {"weight": 0}},
)
"""Changes of the sources in the stages of a curriculum: c joins in the second, and b leaves in the third."""


def stages(folder: Path, sources: tuple[dict[str, Any], ...] = STAGES, **top: Any) -> Path:
    """Write a curriculum of three stages."""
    for number, changes in enumerate(sources, 1):
        write_recipe(folder, f"stage{number}", changes, lanes=2, **{"on_exhausted": names.RENORMALIZE, **top})
    budgets = [
        {"recipe": f"stage{number}.yaml", "tokens": tokens} for number, tokens in ((1, 4000), (2, 3000), (3, 5000))
    ]
    path = folder / "stages.yaml"
    path.write_text(yaml.safe_dump({"stages": budgets}), "utf-8")
    return path


def orders(folder: Path) -> Digests:
    """Return digests of exact and random interleaving, no weights, and each way to weigh and to end."""
    url = {"id_field": "id", "keep": ["url", "score"]}
    mixes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "exact": ({"sources": {"a": url, "b": {"id_field": "id"}}}, {}),
        "exact, by bytes, repeated": ({"weigh_by": "bytes", "on_exhausted": "repeat"}, {"max_tokens": 30_000}),
        "exact, by documents, to the end": ({"weigh_by": "documents", "on_exhausted": names.RENORMALIZE}, {}),
        "exact, passes": ({"lanes": 2, "sources": {"b": {"max_passes": 2}, "c": {"max_passes": 3}}}, {}),
        "exact, conditions": ({"sources": {"a": {"where": [["score", ">=", 2]], **url}}}, {}),
        "exact, not shuffled": ({"shuffle": "none", "seed": 4}, {}),
        "exact, another seed and other lanes": ({}, {"seed": 5, "lanes": 4}),
        "exact, bytes limited": ({}, {"max_bytes": 9_001}),
        "iid": ({"order": "iid", "on_exhausted": "stop"}, {}),
        "iid, repeated": ({"order": "iid", "on_exhausted": "repeat", "lanes": 2}, {"max_samples": 801}),
        "iid, to the end": ({"order": "iid", "on_exhausted": names.RENORMALIZE, "lanes": 1}, {}),
        "no weights": ({"weighted": False, "on_exhausted": names.RENORMALIZE}, {}),
    }
    return {name: records(write_recipe(folder, **top), **limits) for name, (top, limits) in mixes.items()}


def validation(folder: Path) -> Digests:
    """Return digests of both splits, with and without a limit that the validation split reaches."""
    found = {}
    for name, top in (("limited", HOLDOUT), ("whole", {"holdout": {"fraction": 0.1}, **NEAR})):
        recipe = write_recipe(folder, **top)
        found |= {f"{name}, {split}": records(recipe, split=split) for split in ("train", "validation")}
    return found | {"curriculum": records(stages(folder, **HOLDOUT), split="validation")}


def deduplication(folder: Path) -> Digests:
    """Return digests of mixes that drop near duplicates, exact ones, and none."""
    wanted = {"exact": EXACT, "near": NEAR, "off": {"dedup": {"exact": False}}}
    wanted["near, any agreement"] = {"dedup": {"exact": False, "near": {"bands": 20, "rows": 2, "ngram": 2}}}
    return {
        name: records(write_recipe(folder, on_exhausted=names.RENORMALIZE, lanes=2, **top))
        for name, top in wanted.items()
    }


ODD = (
    "|".join("-" * 9) * 40,
    "the same line again\n" * 50,
    "x" * 5000,
    "def page(): return [1, 2]\n" * 9,
    "# - …\n" * 60,
    text("odd") + " …" * 9,
)
"""Texts that presets of filters drop."""


def filters(folder: Path) -> Digests:
    """Return digests of what presets keep and drop of the project's French and Vietnamese texts, and of odd ones."""
    demo = [
        {"id": tag, "name": f"demo:{name}", "id_field": "id", "weight": 1, "kind": {"type": "prose", "language": tag}}
        for tag, name in (("fr", "french"), ("vi", "vietnamese"))
    ]
    write_lines(folder / "odd.jsonl", [{"text": each} for each in ODD])
    others = [
        {"id": f"odd-{kind}", "name": "odd.jsonl", "weight": 1, "kind": {"type": kind, "language": language}}
        for kind, language in (("prose", "en"), ("math", "en"), ("code", "python"))
    ]
    top = {"lanes": 1, "on_exhausted": names.RENORMALIZE, "dedup": {"exact": False}}
    found = {}
    for name, rules in (("kind", {"preset": "kind", "min_chars": 40}), ("web", {"preset": "fineweb2"})):
        recipe = write_recipe(folder, name, datasets=[*demo, *others], **{names.FILTERS: rules}, **top)
        names.write(recipe, folder / f"{name} out", keep_dropped=folder / f"{name} dropped")
        found |= {name: records(recipe), f"{name}, dropped": digest(dropped(folder / f"{name} dropped"))}
    sources = {"a": {names.FILTERS: {"min_chars": 120}}, "b": {names.FILTERS: {"max_chars": 300}}}
    return found | {"lengths": records(write_recipe(folder, sources=sources))}


def dropped(folder: Path) -> Iterable[list[Any]]:
    """Yield the values of the dropped documents of a mix. A reason is the number of reasons that came before it."""
    reasons: dict[str, int] = {}
    for table in map(pq.read_table, sorted(folder.rglob("*.parquet"))):
        for row in table.to_pylist():
            document, reason, *most, file, number = (row[column] for column in names.DROPPED_COLUMNS)
            yield [document, reasons.setdefault(reason, len(reasons)), *most, posixpath.basename(file), number]


LISTED = ("# taken down", "A0004", "https://example.org/b/7", "http://www.Example.org/a/9/", "c/all.csv:11", "nothing")
"""A list of documents to exclude: by id, by URL, and by file and row."""


def exclusion(folder: Path) -> Digests:
    """Return the digest of the records without those that a list names."""
    (folder / "list.txt").write_text("\n".join(LISTED), "utf-8")
    sources = {source: {"id_field": "id"} for source in "ab"}
    top = {"exclude": "list.txt", "on_exhausted": names.RENORMALIZE}
    return {"excluded": records(write_recipe(folder, sources=sources, **top))}


def decontamination(folder: Path) -> Digests:
    """Return digests of records with the documents dropped, or marked, that share a run of words with an evaluation."""
    of_a, of_b = ([row["text"] for row in rows(source)] for source in "ab")
    sets = {"one": [*of_a[100:119:3], text("another")], "two": [*of_a[2:30:8], edited(of_b[17])]}
    for name, texts in sets.items():
        write_lines(folder / f"{name}.jsonl", [{"question": each} for each in texts])
    evaluations = {"texts": [{"name": f"{name}.jsonl", "text_field": "question"} for name in sets], "ngram": 6}
    top = {"on_exhausted": names.RENORMALIZE, "sources": {"a": {"keep": ["score"]}}}
    return {
        action: records(write_recipe(folder, decontaminate={**evaluations, "action": action}, **top))
        for action in ("drop", "mark")
    }


DIRTY = (
    "one\r\ntwo\rthree\x85four\u2028five\u2029six\r\r\n",
    "a\x00b\x01 \x1b[33;1mred\x1b[m \ufeffzero\u200bwidth\u2060 soft\u00adhyphen \u200eleft\u202e",
    "cafe\u0301 \u212b \u1112\u1161\u11ab か\u3099き q\u0323\u0307",
    "می\u200cخواهم a\u200cb 👩\u200d👩\u200d👧 नमस्ते ភាសា\u200bខ្មែរ",
    "  spaces   in \u00a0 a\u3000line  \t x \n\n\n\n    kept   code\n\tkept   too\n>>> f(  1 )\n```\nx   = 1\n```\n",
    "We use cookies on this site.\nText.\nPlease enable JavaScript to go on.\nLorem ipsum dolor.\nMore text.",
    "| a   | b  |\n|-----|----|\n| 1   |  2 |  \n\n\n\n\\begin{matrix} 1  & 2 \\\\ 3   & 4 \\end{matrix}\n",
    "\n\n\nfirst\n\n\nlast   \n\n",
    "schÃ¶n, itâ€™s cafÃ©",
    " \t\r\n",
    "plain",
)
CLEANING = {
    "prose": {"profile": "prose"},
    "code": {"profile": "code"},
    "math": {"profile": "math"},
    "none": {"profile": "none"},
    "boilerplate": {"profile": "prose", "boilerplate": True},
    "mojibake": {"profile": "code", "mojibake": True},
}


def cleaning(folder: Path) -> Digests:
    """Return digests of dirty texts after each profile and option."""
    texts = [*DIRTY, "\n".join(DIRTY), *(before + after for before in DIRTY[:5] for after in DIRTY[4:])]
    write_lines(folder / "dirty.jsonl", [{"text": each} for each in texts])
    top = {"lanes": 1, "shuffle": "none", "dedup": {"exact": False}}
    return {
        name: records(
            write_recipe(folder, datasets=[{"id": "dirty", "name": "dirty.jsonl", "weight": 1}], clean=profile, **top)
        )
        for name, profile in CLEANING.items()
    }


def written(folder: Path) -> Digests:
    """Return digests of rows of Parquet: by one process, by several, by source, of a curriculum, and in a cache."""
    sources = {"b": {"id_field": "id"}, "c": {"max_passes": 2}}
    recipe = write_recipe(folder, sources=sources, lanes=2, **HOLDOUT, **NEAR)
    with names.small_row_groups():
        names.write(recipe, folder / "one")
    assert len(list((folder / "one" / names.WRITTEN_DATA).iterdir())) > 5
    names.write(recipe, folder / "several", num_proc=2)
    names.write(recipe, folder / "sources", form="by-source")
    names.write(stages(folder, **HOLDOUT), folder / "stages written")
    found = {name: digest(written_rows(folder / name)) for name in ("one", "several", "sources", "stages written")}
    prepared = names.load(recipe, streaming=False, cache_dir=str(folder / "cache"))
    found["prepared"] = digest(map(values, prepared))
    return found | {"live": records(recipe), "mixed again": records(folder / "sources" / names.WRITTEN_RECIPE)}


def written_rows(folder: Path) -> Iterable[list[Any]]:
    """Yield the values of the rows of a written mix, file by file."""
    for path in sorted((folder / names.WRITTEN_DATA).rglob("*.parquet")):
        yield from map(values, pq.read_table(path).to_pylist())


def packed(folder: Path) -> Digests:
    """Return digests of windows of a recipe, with a token after or before each document, and of a written mix."""
    tokenizer = save(folder / "tokenizer.json")
    recipe = write_recipe(folder, lanes=2)
    names.write(recipe, folder / "out", max_samples=150)
    opened = partial(names.open_packed, tokenizer=tokenizer, sequence_length=64)
    return {
        "ends": digest(map(window, opened(recipe, max_tokens=12_000))),
        "begins": digest(map(window, opened(recipe, bos="<|start|>", eos=None, max_samples=150))),
        "written": digest(map(window, opened(folder / "out"))),
        "counted": records(write_recipe(folder, tokens={"tokenizer": "tokenizer.json", "eos": EOS}), max_tokens=12_000),
    }


def token_files(folder: Path) -> Digests:
    """Return digests of the tokens and ends of documents that nanotron and Megatron-LM read."""
    tokenizer = save(folder / "tokenizer.json")
    recipe = write_recipe(folder, lanes=2, **HOLDOUT)
    found = {}
    for form, endings in (("nanotron", ("ds", "ds.index")), ("megatron", ("bin", "idx"))):
        with names.small_row_groups():
            names.write(recipe, folder / form, form=form, tokenizer=tokenizer, max_tokens=30_000, max_shard_size=4_000)
        for ending in endings:
            paths = sorted((folder / form / names.WRITTEN_DATA).rglob(f"*.{ending}"))
            found[f"{form}, {ending}"] = digest([path.read_bytes().hex()] for path in paths)
    return found


def dedup_index(folder: Path) -> Digests:
    """Return digests of the rows that a dedup index drops, and of the records of a mix that uses it."""
    files: dict[str, dict[str, int]] = {"a": {}, "b": {}, "c": {}}
    for file, size in FILES.items():
        files[file[0]][file] = size
    common = {"on_exhausted": names.RENORMALIZE, names.FILTERS: {"min_chars": 20}}
    found = {}
    for name, top in (("exact", EXACT), ("near", NEAR)):
        looked_up = {"dedup": {**top["dedup"], "index": name}}
        made, used = (
            write_recipe(folder, f"{name}{number}", **{**common, **dedup})
            for number, dedup in enumerate((top, {**looked_up, **HOLDOUT}))
        )
        found[f"{name}, dropped"] = digest(names.index(made, folder / name, files, memory=4096))
        found |= {f"{name}, {split}": records(used, split=split) for split in ("train", "validation")}
    found["curriculum, dropped"] = digest(names.index(stages(folder, **NEAR), folder / "stages index", files))
    return found


def merge_command(folder: Path) -> Digests:
    """Return digests of the texts of the command `merge`, drawn by weight and one source after another."""
    import datasets

    sources = {"a": {"kind": {"language": "en"}}, "b": {"kind": {"language": "vi"}}, "c": {"kind": {"language": "en"}}}
    recipe = write_recipe(folder, sources=sources, **{names.FILTERS: {"min_chars": 100}})
    wanted = {
        "by weight": ("--use-weights",),
        "by weight, limited": ("--use-weights", "--max-samples", "333", "--seed", "3"),
        "one after another": (),
        "one after another, limited": ("--max-samples", "40", "--english-only"),
    }
    found = {}
    for number, (name, flags) in enumerate(wanted.items()):
        names.merge("--config", str(recipe), "--output-dir", str(folder / f"merged {number}"), *flags)
        saved = datasets.load_from_disk(str(folder / f"merged {number}"))
        found |= {f"{name}, {split}": digest([each] for each in saved[split]["text"]) for split in ("train", "test")}
    return found


def curriculum(folder: Path) -> Digests:
    """Return digests across the switches of a curriculum, and of a recipe that continues from another."""
    first = names.open_mix(write_recipe(folder, "first", lanes=2, **NEAR), max_samples=120).stream()
    before = digest(map(values, first))
    weights = {"a": {"weight": 0.2}, "b": {"weight": 0.8}, "c": {"weight": 0}}
    second = write_recipe(folder, "second", weights, lanes=2, **NEAR)
    passes = ({}, {"c": {"weight": 6}}, {"c": {"weight": 6, "max_passes": 2}})
    return {
        "stages": records(stages(folder)),
        "stages, passes": records(stages(folder, passes)),
        "stages, near": records(stages(folder, **NEAR)),
        "stages, by documents": records(stages(folder, weigh_by="documents", order="iid", on_exhausted="repeat")),
        "stages, scaled": records(stages(folder), total_tokens=7_000),
        "before": before,
        "continued": records(second, continue_from=first.state_dict()),
    }


Case = Callable[[Path], Digests]
CASES: tuple[Case, ...] = (
    orders,
    validation,
    deduplication,
    filters,
    exclusion,
    decontamination,
    cleaning,
    written,
    packed,
    token_files,
    dedup_index,
    merge_command,
    curriculum,
)
