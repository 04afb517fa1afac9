"""From a raw block to records that may be given: clean, judge, hold out, fingerprint. Pure."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix import schema
from smollm3_mix.recipe.model import Recipe, Source
from smollm3_mix.sources.block_reader import DUPLICATES, RawBlock
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.decontamination import NONE, EvaluationNgrams
from smollm3_mix.text.dedup import dedup_store, minhash, text_hashes
from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.lengths import byte_lengths, document_units, estimate_tokens
from smollm3_mix.text.measure.words import words
from smollm3_mix.tokenizer.encoder import Tokenizer

HELD_OUT = {"train": "holdout", "validation": "not_holdout"}
"""Reason for a document that belongs to the other split."""


@dataclass(frozen=True)
class FilteredBlock:
    """A block after cleaning and judging, before dedup.

    Attributes:
        raw: the block as read.
        texts: cleaned texts, as many as raw rows.
        reasons: why each row is dropped, null where it is kept so far.
        fingerprints: uint64[rows, 2] of the cleaned texts; None where neither dedup nor holdout needs them.
        signatures: near-duplicate band keys; None where the recipe has no near dedup.
    """

    raw: RawBlock
    texts: pa.StringArray
    reasons: pa.StringArray
    fingerprints: npt.NDArray[np.uint64] | None
    signatures: npt.NDArray[np.uint64] | None


@dataclass(frozen=True)
class AcceptedBlock:
    """The accepted documents of a block, in the order in which they are laid on the line.

    Attributes:
        records: columns of schema.RECORD; None while they are given up, to be read again.
        units: what each weighs, int64[rows].
        tokens: tokens of each, int64[rows].
        lengths: UTF-8 bytes of each text, int64[rows].
    """

    records: pa.RecordBatch | None
    units: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenEncoding:
    """How accepted documents are made into tokens.

    Attributes:
        tokenizer: counts the tokens; None where the recipe counts without one.
        ids: records have a column `ids` more, with their tokens as large_list<int32>.
    """

    tokenizer: Tokenizer | None = None
    ids: bool = False


NO_TOKEN_ENCODING = TokenEncoding()


def filter_raw_block(
    raw: RawBlock, recipe: Recipe, source: Source, split: str, evaluation_ngrams: EvaluationNgrams | None = None
) -> FilteredBlock:
    """The block cleaned and judged; nothing is remembered.

    The first of these that applies is a row's reason: what the reader found (`excluded` among it), the filters's,
    `contaminated`, the other split's.
    """
    start = clean_raw_block(raw, source)
    texts, reasons = start.texts, start.reasons
    kept = reasons.null_count
    near = recipe.dedup.near if recipe.dedup.remembers else None
    found = words(texts) if kept and near is not None else None  # one pass serves judge and signatures
    if kept:
        reasons = pc.coalesce(reasons, drop_reasons(texts, source.filters, found))
    if (
        kept
        and evaluation_ngrams is not None
        and recipe.decontaminate is not None
        and recipe.decontaminate.action == "drop"
    ):
        reasons = pc.coalesce(reasons, contaminated_reasons(texts, evaluation_ngrams))
    fingerprints = None
    if kept and (recipe.dedup.remembers or recipe.holdout.fraction > 0):
        fingerprints = text_hashes.hash_texts(texts)
        if recipe.holdout.fraction > 0:
            reasons = pc.coalesce(reasons, other_split_reasons(fingerprints, recipe.holdout.fraction, split))
    among = reasons.is_null().to_numpy(zero_copy_only=False)  # the others are neither looked up nor remembered
    signatures = minhash.minhash_signatures(texts, near, found, among) if kept and near is not None else None
    return FilteredBlock(raw, texts, reasons, fingerprints, signatures)


def clean_raw_block(raw: RawBlock, source: Source) -> FilteredBlock:
    """The block cleaned and nothing more, for rows whose verdicts are known."""
    return FilteredBlock(raw, clean_texts(raw.texts, source.clean), raw.reasons, None, None)


def other_split_reasons(fingerprints: npt.NDArray[np.uint64], fraction: float, split: str) -> pa.StringArray:
    """Reason for each document that belongs to the other split, null for the rest.

    Membership is a function of the cleaned text alone, so no seed, lane or stage can move a document from one split
    to the other, and copies of a text are always on the same side.
    """
    held = fingerprints[:, 1] < np.uint64(min(int(fraction * 2.0**64), 2**64 - 1))
    mask = held if split == "train" else ~held
    return pc.if_else(pa.array(mask), HELD_OUT[split], pa.scalar(None, pa.string()))


def contaminated_reasons(texts: pa.StringArray, evaluation_ngrams: EvaluationNgrams) -> pa.StringArray:
    """`contaminated` for each document that shares a run of words with an evaluation, null for the rest."""
    return pc.if_else(
        pa.array(evaluation_ngrams.search(texts) != NONE), "contaminated_reasons", pa.scalar(None, pa.string())
    )


def mark_contaminated(
    meta: pa.StringArray, texts: pa.StringArray, evaluation_ngrams: EvaluationNgrams
) -> pa.StringArray:
    """`meta` with `contaminated` and `contaminated_by` for documents that share a run of words with an evaluation."""
    sets = evaluation_ngrams.search(texts)
    found = np.flatnonzero(sets != NONE)
    if not len(found):
        return meta
    values = meta.to_pylist()
    for row in found.tolist():  # few
        mark = {"contaminated": True, "contaminated_by": evaluation_ngrams.names[sets[row]]}
        values[row] = json.dumps(json.loads(values[row]) | mark, ensure_ascii=False)
    return pa.array(values, pa.string())


def deduplicate(prepared: FilteredBlock, seen: dedup_store.DedupStore | None) -> pa.StringArray:
    """Reasons after dedup; what is accepted is remembered in `seen`, in raw order."""
    if seen is None or prepared.fingerprints is None:
        return prepared.reasons
    candidates = prepared.reasons.is_null().to_numpy(zero_copy_only=False)
    codes = seen.first(prepared.fingerprints, prepared.signatures, candidates)
    if not codes.any():
        return prepared.reasons
    names = pa.array(DUPLICATES, pa.string()).take(pa.array(codes, pa.int64()))
    return pc.coalesce(prepared.reasons, names)


def accept_rows(  # noqa: PLR0917 - called by lines only
    prepared: FilteredBlock,
    rows: npt.NDArray[np.int64],
    recipe: Recipe,
    source: Source,
    encoding: TokenEncoding = NO_TOKEN_ENCODING,
    evaluation_ngrams: EvaluationNgrams | None = None,
) -> AcceptedBlock:
    """The records of the given rows of the block, in the given order."""
    raw = prepared.raw
    index = pa.array(rows)
    texts = prepared.texts.take(index)
    lengths = byte_lengths(texts)
    ids_of_tokens = encoding.tokenizer.encode(texts) if encoding.tokenizer is not None and encoding.ids else None
    if ids_of_tokens is not None:
        counted = np.diff(ids_of_tokens.offsets.to_numpy())
    elif encoding.tokenizer is not None:
        counted = encoding.tokenizer.count(texts)
    elif recipe.tokens == "column" and raw.tokens is not None:
        counted = raw.tokens.take(index).to_numpy()
    else:
        counted = estimate_tokens(lengths, source.tokens_per_byte)
    numbers = pa.array(raw.rows[rows], pa.int64())
    ids = record_ids(raw, rows)
    origin = [pa.repeat(pa.scalar(source.id), len(rows)), pa.repeat(pa.scalar(raw.file), len(rows)), numbers]
    if raw.stored is not None:
        origin = raw.stored.take(index).flatten()
    meta = pa.repeat("{}", len(rows)) if raw.meta is None else raw.meta.take(index).fill_null("{}")
    if evaluation_ngrams is not None and recipe.decontaminate is not None and recipe.decontaminate.action == "mark":
        meta = mark_contaminated(meta, texts, evaluation_ngrams)
    columns = [
        texts,
        ids,
        origin[0],
        pa.array(counted),
        *origin[1:],
        meta,
    ]
    records = pa.RecordBatch.from_arrays(columns, schema=schema.RECORD_SCHEMA)
    if ids_of_tokens is not None:
        records = records.append_column("ids", ids_of_tokens)
    return AcceptedBlock(records, document_units(recipe.weigh_by, lengths, counted), counted, lengths)


def record_ids(raw: RawBlock, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """Ids of the given rows: the source's own, else made of file and row."""
    ids = pa.nulls(len(rows), pa.string()) if raw.ids is None else raw.ids.take(pa.array(rows))
    if ids.null_count:
        numbers = pa.array(raw.rows[rows], pa.int64()).cast(pa.string())
        ids = pc.coalesce(ids, pc.binary_join_element_wise(pa.scalar(raw.file), numbers, ":"))
    return ids


def dropped_records(prepared: FilteredBlock, reasons: pa.StringArray, source: Source) -> pa.RecordBatch:
    """The dropped rows of the block, columns of schema.DROPPED; without those that the other split gives."""
    other = pc.is_in(reasons, value_set=pa.array(list(HELD_OUT.values())))
    rows = np.flatnonzero(np.asarray(pc.and_not(reasons.is_valid(), other))).astype(np.int64)
    index, raw = pa.array(rows), prepared.raw
    columns = [
        prepared.texts.take(index),
        reasons.take(index),
        pa.repeat(pa.scalar(source.id), len(rows)),
        record_ids(raw, rows),
        pa.repeat(pa.scalar(raw.file), len(rows)),
        pa.array(raw.rows[rows], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.DROPPED_SCHEMA)


def count_reasons(reasons: pa.StringArray) -> dict[str, int]:
    """Rows by reason, without those that are kept."""
    if reasons.null_count == len(reasons):
        return {}
    return dict(Counter(reasons.drop_null().to_pylist()))
