/* Hashes of lines and paragraphs, and which of them stand in their document before. */
#include "kernels.h"

/* folded[run]: one hash for hashes[begin[run]:begin[run + 1]], which depends on their order. Returns 0. */
KERNEL int64_t sm_fold(const uint64_t *hashes, const int64_t *begin, int64_t runs, uint64_t *folded)
{
    for (int64_t run = 0; run < runs; run++) {
        uint64_t sum = 0, turn = GOLDEN;
        for (int64_t at = begin[run]; at < begin[run + 1]; at++, turn += GOLDEN) {
            uint64_t mixed = hashes[at] + turn;
            mixed = (mixed ^ mixed >> 32) * FIRST;
            sum += mixed ^ mixed >> 29;
        }
        folded[run] = sum;
    }
    return 0;
}

/* places: numbers of the keys that an equal key of their row stands before, ascending. Returns how many, or -1 where
 * memory ran out. */
KERNEL int64_t sm_repeated(const uint64_t *keys, const int64_t *first, int64_t rows, int64_t *places)
{
    int64_t most = 0, found = 0;
    for (int64_t row = 0; row < rows; row++)
        if (first[row + 1] - first[row] > most)
            most = first[row + 1] - first[row];
    int64_t *slots = malloc(((size_t)1 << bits_for(2 * most)) * sizeof(int64_t)); /* number of a key, -1 = free */
    if (!slots)
        return -1;
    for (int64_t row = 0; row < rows; row++) {
        int bits = bits_for(2 * (first[row + 1] - first[row]));
        uint64_t mask = ((uint64_t)1 << bits) - 1;
        if (first[row + 1] - first[row] < 2)
            continue;
        memset(slots, 0xFF, ((size_t)1 << bits) * sizeof(int64_t));
        for (int64_t nth = first[row]; nth < first[row + 1]; nth++) {
            uint64_t at = ((keys[nth] ^ keys[nth] >> 32) * FIRST) >> (64 - bits);
            while (slots[at] >= 0 && keys[slots[at]] != keys[nth])
                at = (at + 1) & mask;
            if (slots[at] >= 0)
                places[found++] = nth;
            else
                slots[at] = nth;
        }
    }
    free(slots);
    return found;
}
