/* Which documents were seen before, by a key in common: an open-addressing table from keys to documents. */
#include "kernels.h"

enum { NEW, EXACT, NEAR }; /* verdicts; those of `Seen.first` */

/* The keys of documents, and a table of their numbers + 1, 0 where free. A slot says which document to look at, and
 * stands for those of its keys that are looked for there. A key of 0 is no key. */
typedef struct {
    const uint64_t *keys; /* [room][columns] */
    int64_t documents;
    uint32_t *table;
    uint64_t slots;
    int64_t columns;
} Held;

/* When two documents that have a band in common are alike. */
typedef struct {
    int64_t bands, rows, bits;
    double jaccard;
} Near;

/* Where to look next; a bijection. With steps of one length, some keys come back to the same full slots again. */
static inline uint64_t further(uint64_t place)
{
    return (place ^ place >> 32) * GOLDEN + GOLDEN;
}

/* The number + 1 of a slot's document, 0 where it is free. A number that no document has counts as free. */
static inline uint32_t entry_at(const Held *held, uint64_t slot)
{
    uint32_t entry = held->table[slot];
    return entry <= held->documents ? entry : 0;
}

/* The slot of a document that has the key in the column, or the first free one on the way. */
static inline uint64_t slot_of(const Held *held, uint64_t key, int64_t column)
{
    uint64_t place = further(further(key) + (uint64_t)column * GOLDEN);
    for (;; place = further(place)) {
        uint64_t slot = (place >> 32) * held->slots >> 32;
        uint32_t entry = entry_at(held, slot);
        if (!entry || held->keys[(int64_t)(entry - 1) * held->columns + column] == key)
            return slot;
    }
}

static void enter(Held *held, int64_t document)
{
    const uint64_t *keys = held->keys + document * held->columns;
    for (int64_t column = 0; column < held->columns; column++)
        if (keys[column]) {
            uint64_t slot = slot_of(held, keys[column], column);
            if (!entry_at(held, slot))
                held->table[slot] = (uint32_t)(document + 1);
        }
}

/* Jaccard of the shingles of two documents, by the share of minima that agree in the bits kept, less what agrees by
 * chance (Li & Koenig 2010). */
static double agreement(const uint64_t *one, const uint64_t *other, const Near *near)
{
    uint64_t mask = ((uint64_t)1 << near->bits) - 1;
    double chance = 1.0 / (double)((uint64_t)1 << near->bits);
    int64_t equal = 0;
    for (int64_t band = 0; band < near->bands; band++)
        for (int64_t row = 0; row < near->rows; row++)
            equal += ((one[band] ^ other[band]) >> row * near->bits & mask) == 0;
    return ((double)equal / (double)(near->bands * near->rows) - chance) / (1 - chance);
}

static uint8_t verdict(const Held *held, const uint64_t *keys, int64_t exact, const Near *near)
{
    for (int64_t column = 0; column < held->columns; column++) {
        uint32_t entry = keys[column] ? entry_at(held, slot_of(held, keys[column], column)) : 0;
        if (!entry)
            continue;
        if (column < exact)
            return EXACT;
        const uint64_t *other = held->keys + (int64_t)(entry - 1) * held->columns;
        if (near->jaccard <= 0 || agreement(keys + exact, other + exact, near) >= near->jaccard)
            return NEAR;
    }
    return NEW;
}

int64_t sm_find_duplicates(const uint64_t *keys, const Flag *candidates, int64_t rows, int64_t columns, int64_t exact,
                int64_t bands, int64_t rows_of_band, int64_t bits, double jaccard, uint64_t *held_keys,
                int64_t documents, int64_t room, uint32_t *table, int64_t slots, uint8_t *codes)
{
    Held held = {held_keys, documents, table, (uint64_t)slots, columns};
    Near near = {bands, rows_of_band, bits, jaccard};
    int64_t lacking = 0;
    for (int64_t row = 0; row < rows; row++, keys += columns) {
        int some = 0;
        for (int64_t column = 0; column < columns; column++)
            some |= keys[column] != 0;
        codes[row] = NEW;
        if (!candidates[row] || !some || (codes[row] = verdict(&held, keys, exact, &near)) != NEW)
            continue;
        if (held.documents == room) {
            lacking++;
            continue;
        }
        memcpy(held_keys + held.documents * columns, keys, (size_t)columns * sizeof(uint64_t));
        enter(&held, held.documents++);
    }
    return lacking ? -1 - lacking : held.documents;
}

int64_t sm_insert_keys(const uint64_t *held_keys, int64_t begin, int64_t end, int64_t columns, uint32_t *table, int64_t slots)
{
    Held held = {held_keys, end, table, (uint64_t)slots, columns};
    for (int64_t document = begin; document < end; document++)
        enter(&held, document);
    return 0;
}

int64_t sm_signature_agreement(const uint64_t *one, const uint64_t *other, int64_t rows, int64_t bands,
                     int64_t rows_of_band, int64_t bits, double *found)
{
    Near near = {bands, rows_of_band, bits, 0};
    for (int64_t row = 0; row < rows; row++)
        found[row] = agreement(one + row * bands, other + row * bands, &near);
    return 0;
}
