"""A script as a user would write it. It must pass `mypy --strict`; the tests do not run it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

import smollm3_mix
from smollm3_mix import Curriculum, MixLoader, MixOptions, Recipe, open_mix


def records(options: MixOptions) -> Iterator[str]:
    mix = open_mix("stage1", **options)
    with mix.stream([0]) as stream:
        for record in stream:
            yield record["text"]
        state = stream.state_dict()
        stream.load_state_dict(state)
        batch: pa.RecordBatch = stream.read(100)
        print(batch.num_rows, stream.stats.total.emitted_tokens, stream.stats.shares["dclm"])


def batches() -> None:
    for record in MixLoader("stage1", 8, seed=1, max_tokens="10M"):
        print(record[0]["text"])
    for batch in MixLoader("stage1", 8, format="arrow", num_workers=2):
        print(batch.num_rows)
    loader = MixLoader(open_mix("stage1"), batch_size=8, format="numpy", rank=0, world_size=2, drop_last=True)
    loader.load_state_dict(loader.state_dict())


def packed() -> int:
    windows = smollm3_mix.open_packed("stage1", sequence_length=2048, lanes=4, max_tokens="2B")
    total = 0
    for window in windows:
        ids: np.ndarray = window["input_ids"]
        total += len(ids) + len(smollm3_mix.cu_seqlens(window["position_ids"]))
    return total


def files(folder: Path) -> str:
    written = smollm3_mix.write(
        "stage1", folder, num_proc=2, max_shard_size="256MiB", max_tokens="10M", on_progress=lambda progress: None
    )
    print(written.stats["train"].total.emitted, written.files)
    report = smollm3_mix.verify(written)
    report.raise_for_problems()
    return smollm3_mix.push_to_hub(written, "me/mix", private=True, commit_message="Add a mix", create_pr=True)


def recipes() -> Recipe:
    loaded = smollm3_mix.load_recipe("stage1", seed=2)
    if isinstance(loaded, Curriculum):
        return loaded.scale("11B").stages[0].recipe
    print(smollm3_mix.plan(loaded, max_tokens="1B").seconds, loaded.fingerprint, smollm3_mix.check_recipe("stage1"))
    return loaded.replace(seed=3).replace_source("dclm", weight=0.5)


def datasets_of_it() -> None:
    stream = smollm3_mix.load("stage2", max_samples=100)
    print(next(iter(stream.shuffle(seed=1))))
    prepared = smollm3_mix.load("stage2", streaming=False, max_samples=100)
    print(prepared[0], len(prepared))
    both = smollm3_mix.load("stage2", None, max_samples=100)
    print(both["train"])


def index(folder: Path) -> int:
    built = smollm3_mix.build_index("stage1", folder, num_proc=2, memory="2GiB")
    return built.nbytes


try:
    records({"max_samples": 10})
except smollm3_mix.UnreadableSourcesError as error:
    print(error.problems["dclm"])
except smollm3_mix.RecipeError as error:
    print(error.file, error.problems[0])
