/* Count how many of a set of words are in each document. */
#include "kernels.h"

#define SLOTS 4096

int64_t sm_count_distinct(const uint64_t *hashes, const int64_t *first, int64_t rows, const uint64_t *keys,
                          int64_t count, int64_t *found)
{
    uint32_t slots[SLOTS], end_of_chain = (uint32_t)count;
    uint64_t *targets = malloc((size_t)(count + 1) * (sizeof(uint64_t) + sizeof(uint32_t) + 1));
    if (!targets)
        return -1;
    uint32_t *next = (uint32_t *)(targets + count + 1); /* next key of the same slot */
    uint8_t *found_keys = (uint8_t *)(next + count + 1);
    for (int64_t slot = 0; slot < SLOTS; slot++)
        slots[slot] = end_of_chain;
    targets[end_of_chain] = 0, next[end_of_chain] = end_of_chain;
    for (int64_t key = 0; key < count; key++) {
        uint64_t slot = keys[key] >> 52;
        targets[key] = keys[key], next[key] = slots[slot];
        slots[slot] = (uint32_t)key;
    }
    for (int64_t row = 0; row < rows; row++) {
        memset(found_keys, 0, (size_t)count + 1);
        for (int64_t word = first[row]; word < first[row + 1]; word++) {
            uint32_t key = slots[hashes[word] >> 52];
            found_keys[key] |= targets[key] == hashes[word]; /* branch-free, because matches are unpredictable */
            while (next[key] != end_of_chain) {
                key = next[key];
                found_keys[key] |= targets[key] == hashes[word];
            }
        }
        found[row] = 0;
        for (int64_t key = 0; key < count; key++)
            found[row] += found_keys[key];
    }
    free(targets);
    return 0;
}
