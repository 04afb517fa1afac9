/* Hash table with open addressing from keys to the first document that has them. */
#include "kernels.h"

enum { NEW, EXACT, NEAR }; /* decisions of `DedupStore.classify` */

/* Keys of documents, and a table of document numbers + 1, 0 for a free slot. A slot names the document to compare, and
 * represents the keys of that document whose search ends there. A key of 0 is ignored. */
typedef struct {
    const uint64_t *keys; /* [capacity][columns] */
    int64_t documents;
    uint32_t *table;
    uint64_t slots;
    int64_t columns;
} KeyTable;

/* Options of near dedup, for two documents with a band in common. */
typedef struct {
    int64_t bands, rows, bits;
    double jaccard;
} NearOptions;

/* Return the next ring position of a search. A bijection: with a fixed step, some keys would return to the same full
 * slots. */
static inline uint64_t next_position(uint64_t position)
{
    return (position ^ position >> 32) * GOLDEN + GOLDEN;
}

/* Return the entry of a slot, 0 if it is free. A document number that does not exist counts as free. */
static inline uint32_t entry_at(const KeyTable *stored, uint64_t slot)
{
    uint32_t entry = stored->table[slot];
    return entry <= stored->documents ? entry : 0;
}

/* Return the slot of a document that has the key in the column, or the first free slot of the search. */
static inline uint64_t slot_of(const KeyTable *stored, uint64_t key, int64_t column)
{
    uint64_t position = next_position(next_position(key) + (uint64_t)column * GOLDEN);
    for (;; position = next_position(position)) {
        uint64_t slot = (position >> 32) * stored->slots >> 32;
        uint32_t entry = entry_at(stored, slot);
        if (!entry || stored->keys[(int64_t)(entry - 1) * stored->columns + column] == key)
            return slot;
    }
}

static void insert(KeyTable *stored, int64_t document)
{
    const uint64_t *keys = stored->keys + document * stored->columns;
    for (int64_t column = 0; column < stored->columns; column++)
        if (keys[column]) {
            uint64_t slot = slot_of(stored, keys[column], column);
            if (!entry_at(stored, slot))
                stored->table[slot] = (uint32_t)(document + 1);
        }
}

/* Estimate the Jaccard similarity of the shingles of two documents: the share of minima that agree in the stored bits,
 * less the agreement by chance (Li & Koenig 2010). */
static double jaccard_estimate(const uint64_t *one, const uint64_t *other, const NearOptions *near)
{
    uint64_t mask = ((uint64_t)1 << near->bits) - 1;
    double chance = 1.0 / (double)((uint64_t)1 << near->bits);
    int64_t equal = 0;
    for (int64_t band = 0; band < near->bands; band++)
        for (int64_t row = 0; row < near->rows; row++)
            equal += ((one[band] ^ other[band]) >> row * near->bits & mask) == 0;
    return ((double)equal / (double)(near->bands * near->rows) - chance) / (1 - chance);
}

static uint8_t classify(const KeyTable *stored, const uint64_t *keys, int64_t exact, const NearOptions *near)
{
    for (int64_t column = 0; column < stored->columns; column++) {
        uint32_t entry = keys[column] ? entry_at(stored, slot_of(stored, keys[column], column)) : 0;
        if (!entry)
            continue;
        if (column < exact)
            return EXACT;
        const uint64_t *other = stored->keys + (int64_t)(entry - 1) * stored->columns;
        if (near->jaccard <= 0 || jaccard_estimate(keys + exact, other + exact, near) >= near->jaccard)
            return NEAR;
    }
    return NEW;
}

int64_t sm_find_duplicates(const uint64_t *keys, const Flag *candidates, int64_t rows, int64_t columns, int64_t exact,
                           int64_t bands, int64_t rows_of_band, int64_t bits, double jaccard, uint64_t *stored_keys,
                           int64_t documents, int64_t capacity, uint32_t *table, int64_t slots, uint8_t *codes)
{
    KeyTable stored = {stored_keys, documents, table, (uint64_t)slots, columns};
    NearOptions near = {bands, rows_of_band, bits, jaccard};
    int64_t rejected = 0;
    for (int64_t row = 0; row < rows; row++, keys += columns) {
        int has_key = 0;
        for (int64_t column = 0; column < columns; column++)
            has_key |= keys[column] != 0;
        codes[row] = NEW;
        if (!candidates[row] || !has_key || (codes[row] = classify(&stored, keys, exact, &near)) != NEW)
            continue;
        if (stored.documents == capacity) {
            rejected++;
            continue;
        }
        memcpy(stored_keys + stored.documents * columns, keys, (size_t)columns * sizeof(uint64_t));
        insert(&stored, stored.documents++);
    }
    return rejected ? -1 - rejected : stored.documents;
}

int64_t sm_insert_keys(const uint64_t *stored_keys, int64_t begin, int64_t end, int64_t columns, uint32_t *table,
                       int64_t slots)
{
    KeyTable stored = {stored_keys, end, table, (uint64_t)slots, columns};
    for (int64_t document = begin; document < end; document++)
        insert(&stored, document);
    return 0;
}

int64_t sm_signature_agreement(const uint64_t *one, const uint64_t *other, int64_t rows, int64_t bands,
                               int64_t rows_of_band, int64_t bits, double *found)
{
    NearOptions near = {bands, rows_of_band, bits, 0};
    for (int64_t row = 0; row < rows; row++)
        found[row] = jaccard_estimate(one + row * bands, other + row * bands, &near);
    return 0;
}
