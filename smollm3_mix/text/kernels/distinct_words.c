/* How many of some wanted words each document holds. */
#include "kernels.h"

#define SLOTS 4096

int64_t sm_count_distinct(const uint64_t *hashes, const int64_t *first, int64_t rows, const uint64_t *keys,
                    int64_t count, int64_t *found)
{
    uint32_t slots[SLOTS], none = (uint32_t)count;
    uint64_t *wanted = malloc((size_t)(count + 1) * (sizeof(uint64_t) + sizeof(uint32_t) + 1));
    if (!wanted)
        return -1;
    uint32_t *next = (uint32_t *)(wanted + count + 1); /* the next key of the same slot */
    uint8_t *held = (uint8_t *)(next + count + 1);
    for (int64_t slot = 0; slot < SLOTS; slot++)
        slots[slot] = none;
    wanted[none] = 0, next[none] = none;
    for (int64_t key = 0; key < count; key++) {
        uint64_t slot = keys[key] >> 52;
        wanted[key] = keys[key], next[key] = slots[slot];
        slots[slot] = (uint32_t)key;
    }
    for (int64_t row = 0; row < rows; row++) {
        memset(held, 0, (size_t)count + 1);
        for (int64_t word = first[row]; word < first[row + 1]; word++) {
            uint32_t key = slots[hashes[word] >> 52];
            held[key] |= wanted[key] == hashes[word]; /* no branch: which words are wanted cannot be foreseen */
            while (next[key] != none) {
                key = next[key];
                held[key] |= wanted[key] == hashes[word];
            }
        }
        found[row] = 0;
        for (int64_t key = 0; key < count; key++)
            found[row] += held[key];
    }
    free(wanted);
    return 0;
}
