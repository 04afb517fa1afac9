"""The pipeline from a raw block to accepted records: clean, filter, hold out, hash, deduplicate."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix import schema
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.block_reader import DUPLICATES, RawBlock
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.decontamination import NONE, EvaluationNgrams
from smollm3_mix.text.dedup import minhash, text_hashes
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.lengths import byte_lengths, document_units, estimate_tokens
from smollm3_mix.text.measure.words import find_words
from smollm3_mix.tokenizer.encoder import Tokenizer

HELD_OUT = {"train": "holdout", "validation": "not_holdout"}
"""Reason for documents of the other split, by the split that is read."""


@dataclass(frozen=True)
class FilteredBlock:
    """A block after cleaning and filtering, before dedup.

    Attributes:
        raw: The block that was read.
        texts: Cleaned texts, one per raw row.
        reasons: Reason for dropping each row. Null for rows that are kept so far.
        hashes: Hashes of the cleaned texts, uint64[rows, 2]. None if neither dedup nor holdout needs them.
        signatures: Near-duplicate band keys. None without near dedup.
    """

    raw: RawBlock
    texts: pa.StringArray
    reasons: pa.StringArray
    hashes: npt.NDArray[np.uint64] | None
    signatures: npt.NDArray[np.uint64] | None


@dataclass(frozen=True)
class AcceptedBlock:
    """The accepted documents of a block, in placement order.

    Attributes:
        records: Records with the columns of RECORD_SCHEMA. None after they were released.
        units: Units of each document, int64[rows].
        tokens: Tokens of each document, int64[rows].
        lengths: UTF-8 bytes of each text, int64[rows].
    """

    records: pa.RecordBatch | None
    units: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenEncoding:
    """Token counts and token ids of accepted documents.

    Attributes:
        tokenizer: Tokenizer that counts the tokens. None if the recipe counts without a tokenizer.
        ids: Adds a column `ids` to the records: token ids, large_list<int32>.
    """

    tokenizer: Tokenizer | None = None
    ids: bool = False


NO_TOKEN_ENCODING = TokenEncoding()


def filter_raw_block(
    raw: RawBlock, recipe: AnyRecipe, source: Source, split: str, evaluation_ngrams: EvaluationNgrams | None = None
) -> FilteredBlock:
    """Clean and filter a block. Does not change the dedup state.

    The reason of a row is the first that applies: the reader's reason (such as `excluded`), the filters' reason,
    `contaminated`, the other split's reason.
    """
    cleaned = clean_raw_block(raw, source)
    texts, reasons = cleaned.texts, cleaned.reasons
    kept = reasons.null_count
    near = recipe.dedup.near if recipe.dedup.needs_state else None
    found = find_words(texts) if kept and near is not None else None  # one pass for filters and signatures
    if kept:
        reasons = pc.coalesce(reasons, drop_reasons(texts, source.filters, found))
    if (
        kept
        and evaluation_ngrams is not None
        and recipe.decontaminate is not None
        and recipe.decontaminate.action == "drop"
    ):
        reasons = pc.coalesce(reasons, contaminated_reasons(texts, evaluation_ngrams))
    hashes = None
    if kept and (recipe.dedup.needs_state or recipe.holdout.fraction > 0):
        hashes = text_hashes.hash_texts(texts)
        if recipe.holdout.fraction > 0:
            reasons = pc.coalesce(reasons, other_split_reasons(hashes, recipe.holdout.fraction, split))
    candidates = reasons.is_null().to_numpy(zero_copy_only=False)  # dropped rows need no signature
    signatures = minhash.minhash_signatures(texts, near, found, candidates) if kept and near is not None else None
    return FilteredBlock(raw, texts, reasons, hashes, signatures)


def clean_raw_block(raw: RawBlock, source: Source) -> FilteredBlock:
    """Clean a block without filtering it, for rows with known decisions."""
    return FilteredBlock(raw, clean_texts(raw.texts, source.clean), raw.reasons, None, None)


def other_split_reasons(hashes: npt.NDArray[np.uint64], fraction: float, split: str) -> pa.StringArray:
    """Return the reason for each document of the other split, null for the other documents.

    The split depends on the cleaned text alone. No seed, lane or stage can move a document to the other split, and
    copies of a text are always in the same split.

    Args:
        hashes: Hashes of the cleaned texts, uint64[rows, 2].
        fraction: Fraction of documents that is held out.
        split: The split that is read.
    """
    held_out = hashes[:, 1] < np.uint64(min(int(fraction * 2.0**64), 2**64 - 1))
    mask = held_out if split == "train" else ~held_out
    return pc.if_else(pa.array(mask), HELD_OUT[split], pa.scalar(None, pa.string()))


def contaminated_reasons(texts: pa.StringArray, evaluation_ngrams: EvaluationNgrams) -> pa.StringArray:
    """Return `contaminated` for each document that shares a word n-gram with an evaluation, null for the others."""
    return pc.if_else(pa.array(evaluation_ngrams.search(texts) != NONE), "contaminated", pa.scalar(None, pa.string()))


def mark_contaminated(
    meta: pa.StringArray, texts: pa.StringArray, evaluation_ngrams: EvaluationNgrams
) -> pa.StringArray:
    """Return `meta` with a mark on documents that share a word n-gram with an evaluation."""
    sets = evaluation_ngrams.search(texts)
    found = np.flatnonzero(sets != NONE)
    if not len(found):
        return meta
    values = meta.to_pylist()
    for row in found.tolist():
        mark = {"contaminated": True, "contaminated_by": evaluation_ngrams.names[sets[row]]}
        values[row] = json.dumps(json.loads(values[row]) | mark, ensure_ascii=False)
    return pa.array(values, pa.string())


def deduplicate(filtered: FilteredBlock, dedup_store: DedupStore | None) -> pa.StringArray:
    """Return the reasons after dedup. Adds the accepted rows to `dedup_store`, in raw order."""
    if dedup_store is None or filtered.hashes is None:
        return filtered.reasons
    candidates = filtered.reasons.is_null().to_numpy(zero_copy_only=False)
    codes = dedup_store.classify(filtered.hashes, filtered.signatures, candidates)
    if not codes.any():
        return filtered.reasons
    names = pa.array(DUPLICATES, pa.string()).take(pa.array(codes, pa.int64()))
    return pc.coalesce(filtered.reasons, names)


def accept_rows(  # noqa: PLR0917 - called by source streams only
    filtered: FilteredBlock,
    rows: npt.NDArray[np.int64],
    recipe: AnyRecipe,
    source: Source,
    encoding: TokenEncoding = NO_TOKEN_ENCODING,
    evaluation_ngrams: EvaluationNgrams | None = None,
) -> AcceptedBlock:
    """Return the accepted documents: these rows of the block, in this order."""
    raw = filtered.raw
    index = pa.array(rows)
    texts = filtered.texts.take(index)
    lengths = byte_lengths(texts)
    token_ids = encoding.tokenizer.encode(texts) if encoding.tokenizer is not None and encoding.ids else None
    if token_ids is not None:
        counted = np.diff(token_ids.offsets.to_numpy())
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
    if token_ids is not None:
        records = records.append_column("ids", token_ids)
    return AcceptedBlock(records, document_units(recipe.weigh_by, lengths, counted), counted, lengths)


def record_ids(raw: RawBlock, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return the ids of these rows: the ids of the source, or file and row where it has none."""
    ids = pa.nulls(len(rows), pa.string()) if raw.ids is None else raw.ids.take(pa.array(rows))
    if ids.null_count:
        numbers = pa.array(raw.rows[rows], pa.int64()).cast(pa.string())
        ids = pc.coalesce(ids, pc.binary_join_element_wise(pa.scalar(raw.file), numbers, ":"))
    return ids


def dropped_records(filtered: FilteredBlock, reasons: pa.StringArray, source: Source) -> pa.RecordBatch:
    """Return the dropped rows with the columns of DROPPED_SCHEMA, without the rows of the other split."""
    other = pc.is_in(reasons, value_set=pa.array(list(HELD_OUT.values())))
    rows = np.flatnonzero(np.asarray(pc.and_not(reasons.is_valid(), other))).astype(np.int64)
    index, raw = pa.array(rows), filtered.raw
    columns = [
        filtered.texts.take(index),
        reasons.take(index),
        pa.repeat(pa.scalar(source.id), len(rows)),
        record_ids(raw, rows),
        pa.repeat(pa.scalar(raw.file), len(rows)),
        pa.array(raw.rows[rows], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.DROPPED_SCHEMA)


def count_reasons(reasons: pa.StringArray) -> dict[str, int]:
    """Return the number of dropped rows by reason."""
    if reasons.null_count == len(reasons):
        return {}
    return dict(Counter(reasons.drop_null().to_pylist()))
