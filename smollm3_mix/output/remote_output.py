"""A mix written to a store: its lanes by whoever, its end here.

{url}/.writing/writer.json       who writes
{url}/.writing/request.json      what was asked for, and the pinned recipe
{url}/.writing/data, dropped     parts, sent when they are whole
{url}/.writing/{lane}.json       which of them count, and all that the lane needs to go on; sent last
{url}/data, recipe.yaml, stats.json, README.md       the mix, the card last; then `.writing` goes
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import composed
from smollm3_mix.output.existing_output import open_output_in, read_finished
from smollm3_mix.output.lane_jobs import write_lanes
from smollm3_mix.output.output_layout import CARD, DATA, LIST, RECIPE, REQUEST, STATS
from smollm3_mix.output.write_request import WriteContext
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import LOCK_FILE, UrlStore


def write_remote(writing: WriteContext, *, take_over: bool) -> dict[str, MixStats]:
    """See `write`; all lanes, to a store.

    Args:
        writing: its folder is none yet.
        take_over: see `Store.claimed`.
    """
    if writing.store is None:
        raise TypeError("write_away needs a store")
    with TemporaryDirectory(prefix="smollm3-mix-") as scratch:
        mirrored = replace(writing, folder=Path(scratch) / "mix")
        if (done := _finished(mirrored, writing.store)) is not None:
            return done
        with writing.store.claimed(take_over=take_over) as store, folder_lock.folder_lock(mirrored.folder) as work:
            mine = replace(mirrored, store=store)
            note = store.read(f"{WORK_FOLDER}/{REQUEST}")
            if note is not None:
                atomic_files.replace_file(work / REQUEST, note)
            if mine.drops is not None:
                dropped_documents.check(mine.drops, mine.folder, begun=note is not None)
            mixes = open_output_in(mine, work)
            store.send({f"{WORK_FOLDER}/{REQUEST}": work / REQUEST})
            all_stats = write_lanes(mine, mixes, work)
            _commit(mine, store, work, mixes, all_stats)
    return all_stats


def _finished(writing: WriteContext, store: UrlStore) -> dict[str, MixStats] | None:
    """The tallies of a whole mix of the same request, None where there is still something to write."""
    card = store.read(CARD)
    if card is None:
        begun = store.read(f"{WORK_FOLDER}/{REQUEST}") is not None
        ours = {WORK_FOLDER, *((DATA, RECIPE, STATS, LIST) if begun else ())}
        stranger = next((name for name in store.names() if name not in ours), None)
        if stranger is not None:
            raise OutputError(
                f"{store.url} holds {stranger!r}, which is no part of a written mix. "
                "Choose an empty or new place with --output-dir."
            )
        return None
    (writing.folder / DATA).mkdir(parents=True)
    for name in (RECIPE, STATS):
        content = store.read(name)
        if content is not None:
            atomic_files.replace_file(writing.folder / name, content)
    atomic_files.replace_file(writing.folder / CARD, card)
    if not output_layout.is_complete(writing.folder):
        raise OutputError(
            f"{store.url} holds {CARD!r}, which is no part of a written mix. "
            "Choose an empty or new place with --output-dir."
        )
    done = read_finished(writing)
    if store.read(f"{WORK_FOLDER}/{REQUEST}") is not None:  # killed while it cleared up
        store.clear([f"{WORK_FOLDER}/{REQUEST}"])
    return done


def _commit(
    writing: WriteContext, store: UrlStore, work: Path, mixes: Sequence[Mix], all_stats: dict[str, MixStats]
) -> None:
    """Have the store hold the mix, whole."""
    labels = [output_layout.lane_label(mix.split, lane) for mix in mixes for lane in range(mix.num_lanes)]
    sent: dict[str, int] = {}
    for label, state in zip(labels, store.read_all(f"{WORK_FOLDER}/{label}.json" for label in labels), strict=True):
        saved: dict[str, Any] = {} if state is None else json.loads(state)
        if state is None or not saved["done"]:
            raise OutputError(
                f"{store.url}: lane {label} is not whole: a writer that was taken for lost has written since. "
                "Nothing is lost: give the same command again."
            )
        atomic_files.replace_file(work / f"{label}.json", state)
        sent |= saved["sent"]
    if writing.drops is not None:
        (work / dropped_documents.FOLDER).mkdir(exist_ok=True)
        for name in sent:
            if name.startswith(f"{dropped_documents.FOLDER}/"):
                store.get(f"{WORK_FOLDER}/{name}", work / name)
        dropped_documents.publish(work, writing.drops)
    data = {name: size for name, size in sent.items() if name.startswith(f"{DATA}/")}
    files = {name.removeprefix(f"{DATA}/"): size for name, size in data.items()}
    composed(work, mixes[0].plan, writing.request, all_stats, files, work / DATA)
    store.move(
        {f"{WORK_FOLDER}/{name}": name for name in data}, {f"{WORK_FOLDER}/{name}": size for name, size in data.items()}
    )
    store.send({name: work / name for name in (LIST, RECIPE, STATS, CARD) if (work / name).exists()})
    states = [f"{label}.json" for label in labels]
    store.clear(f"{WORK_FOLDER}/{name}" for name in (*sent, *states, REQUEST, Path(LOCK_FILE).name))
