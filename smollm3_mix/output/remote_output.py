"""Write a mix to a URL. Lanes may be written by other processes and machines. The commit is made here.

{url}/.writing/writer.json       lock of the writer
{url}/.writing/request.json      the request and the pinned recipe
{url}/.writing/data, dropped     finished shards
{url}/.writing/{lane}.json       state of a lane: its finished shards and everything to resume it, sent last
{url}/data, recipe.yaml, stats.json, README.md       the finished mix, the card last. `.writing` is then removed
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import compose
from smollm3_mix.output.existing_output import open_output_in, read_finished
from smollm3_mix.output.lane_jobs import write_lanes
from smollm3_mix.output.output_layout import CARD, DATA, LIST, RECIPE, REQUEST, STATS
from smollm3_mix.output.write_request import WriteContext
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import LOCK_FILE, UrlStore


def write_remote(context: WriteContext, *, take_over: bool) -> dict[str, MixStats]:
    """Write all lanes to a store, commit the mix, and return the statistics by split.

    Args:
        context: Call of `write`, with a store.
        take_over: Whether to replace the lock of another writer; see `UrlStore.locked`.
    """
    if context.store is None:
        raise TypeError("write_remote() needs a context with a store.")
    with TemporaryDirectory(prefix="smollm3-mix-") as scratch:
        mirror = replace(context, folder=Path(scratch) / "mix")
        if (finished := _finished(mirror, context.store)) is not None:
            return finished
        with context.store.locked(take_over=take_over) as store, folder_lock.folder_lock(mirror.folder) as work:
            own = replace(mirror, store=store)
            request = store.read(f"{WORK_FOLDER}/{REQUEST}")
            if request is not None:
                atomic_files.replace_file(work / REQUEST, request)
            if own.dropped_dir is not None:
                dropped_documents.check(own.dropped_dir, own.folder, resumed=request is not None)
            mixes = open_output_in(own, work)
            store.send({f"{WORK_FOLDER}/{REQUEST}": work / REQUEST})
            all_stats = write_lanes(own, mixes, work)
            _commit(own, store, work, mixes, all_stats)
    return all_stats


def _finished(context: WriteContext, store: UrlStore) -> dict[str, MixStats] | None:
    """Return the statistics of a complete mix of the same request, or None if there is something left to write."""
    card = store.read(CARD)
    if card is None:
        started = store.read(f"{WORK_FOLDER}/{REQUEST}") is not None
        expected = {WORK_FOLDER, *((DATA, RECIPE, STATS, LIST) if started else ())}
        unexpected = next((name for name in store.names() if name not in expected), None)
        if unexpected is not None:
            raise OutputError(
                f"{store.url} contains {unexpected!r}, which is not part of a written mix. "
                "Choose a new or empty URL with --output-dir.",
                path=store.url,
            )
        return None
    (context.folder / DATA).mkdir(parents=True)
    for name in (RECIPE, STATS):
        content = store.read(name)
        if content is not None:
            atomic_files.replace_file(context.folder / name, content)
    atomic_files.replace_file(context.folder / CARD, card)
    if not output_layout.is_complete(context.folder):
        raise OutputError(
            f"{store.url} contains {CARD!r}, which is not part of a written mix. "
            "Choose a new or empty URL with --output-dir.",
            path=store.url,
        )
    finished = read_finished(context)
    if store.read(f"{WORK_FOLDER}/{REQUEST}") is not None:  # a crash interrupted the removal
        store.clear([f"{WORK_FOLDER}/{REQUEST}"])
    return finished


def _commit(
    context: WriteContext, store: UrlStore, work: Path, mixes: Sequence[Mix], all_stats: dict[str, MixStats]
) -> None:
    """Complete the mix in the store."""
    labels = [output_layout.lane_label(mix.split, lane) for mix in mixes for lane in range(mix.num_lanes)]
    sent: dict[str, int] = {}
    for label, state in zip(labels, store.read_all(f"{WORK_FOLDER}/{label}.json" for label in labels), strict=True):
        saved: dict[str, Any] = {} if state is None else json.loads(state)
        if state is None or not saved["done"]:
            raise OutputError(
                f"{store.url}: lane {label} is incomplete, because another writer has changed it. "
                "Repeat the same command to finish the mix.",
                path=store.url,
            )
        atomic_files.replace_file(work / f"{label}.json", state)
        sent |= saved["sent"]
    if context.dropped_dir is not None:
        (work / dropped_documents.FOLDER).mkdir(exist_ok=True)
        for name in sent:
            if name.startswith(f"{dropped_documents.FOLDER}/"):
                store.get(f"{WORK_FOLDER}/{name}", work / name)
        dropped_documents.publish(work, context.dropped_dir)
    data = {name: size for name, size in sent.items() if name.startswith(f"{DATA}/")}
    files = {name.removeprefix(f"{DATA}/"): size for name, size in data.items()}
    compose(work, mixes[0].resolved, context.request, all_stats, files, work / DATA)
    store.move(
        {f"{WORK_FOLDER}/{name}": name for name in data}, {f"{WORK_FOLDER}/{name}": size for name, size in data.items()}
    )
    store.send({name: work / name for name in (LIST, RECIPE, STATS, CARD) if (work / name).exists()})
    states = [f"{label}.json" for label in labels]
    store.clear([f"{WORK_FOLDER}/{name}" for name in (*sent, *states, Path(LOCK_FILE).name, REQUEST)])
