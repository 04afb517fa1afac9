/* Where the words of a block are, and their hashes. */
#include "kernels.h"

/* How many bytes of white space begin at `at`, whose first byte is C2 or E1 to E3; 0 for any other character. */
static int wide_space(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 2)
        return 0;
    if (at[0] == 0xC2)
        return at[1] == 0x85 || at[1] == 0xA0 ? 2 : 0;
    if (end - at < 3)
        return 0;
    unsigned code = (at[0] & 15u) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
    if (code >= 0x2000 && code <= 0x200A)
        return 3;
    switch (code) {
    case 0x1680: case 0x2028: case 0x2029: case 0x202F: case 0x205F: case 0x3000:
        return 3;
    default:
        return 0;
    }
}

/* Bit k: whether byte k of 64 belongs to a character that str.isspace knows. `spill` are the bits of a character that
 * began in the 64 bytes before. */
static uint64_t spaces(const uint8_t *part, const uint8_t *at, const uint8_t *end, uint64_t *spill)
{
    uint8_t space[64], wide[64];
    for (int k = 0; k < 64; k++) {
        uint8_t byte = part[k];
        space[k] = (byte == 0x20) | ((uint8_t)(byte - 0x09) < 5) | ((uint8_t)(byte - 0x1C) < 4);
        wide[k] = (byte == 0xC2) | ((uint8_t)(byte - 0xE1) < 3);
    }
    uint64_t found = bits_of(space) | *spill;
    *spill = 0;
    for (uint64_t likely = bits_of(wide); likely; likely &= likely - 1) {
        int k = lowest(likely), length = wide_space(at + k, end);
        if (!length)
            continue;
        uint64_t run = ((uint64_t)1 << length) - 1;
        found |= run << k;
        if (k + length > 64)
            *spill = run >> (64 - k);
    }
    return found;
}

/* Starts and ends of the words of every row that is not hidden, and first[rows + 1]: each row's first word. Returns the
 * number of words; there is room for (bytes + rows) / 2 + 1 of them. */
KERNEL int64_t sm_words(const uint8_t *data, const int64_t *offsets, const uint8_t *hidden, int64_t rows,
                        int64_t *starts, int64_t *ends, int64_t *first)
{
    int64_t count = 0;
    for (int64_t row = 0; row < rows; row++) {
        first[row] = count;
        if (hidden[row])
            continue;
        int64_t end = offsets[row + 1];
        uint64_t spill = 0, inside = 0; /* inside: 1 where the byte before belongs to a word */
        for (int64_t at = offsets[row]; at < end; at += 64) {
            uint8_t rest[64];
            const uint8_t *part = data + at;
            if (end - at < 64) {
                memset(rest, 0x20, 64);
                memcpy(rest, part, (size_t)(end - at));
                part = rest;
            }
            uint64_t word = ~spaces(part, data + at, data + end, &spill);
            for (uint64_t edge = word ^ (word << 1 | inside); edge; edge &= edge - 1) {
                int64_t place = at + lowest(edge);
                if (inside)
                    ends[count++] = place;
                else
                    starts[count] = place;
                inside ^= 1;
            }
        }
        if (inside)
            ends[count++] = end;
    }
    first[rows] = count;
    return count;
}

/* Bijection: the product with an odd factor, its upper half put into its lower half too. */
static inline uint64_t stir(uint64_t x, uint64_t factor)
{
    x *= factor;
    return x ^ x >> 32;
}

/* Finaliser of splitmix64: spreads every bit over the result. */
static inline uint64_t scrambled(uint64_t x)
{
    x = (x ^ x >> 30) * FIRST;
    x = (x ^ x >> 27) * SECOND;
    return x ^ x >> 31;
}

/* Up to eight bytes from `at` on, none behind `end`. */
static inline uint64_t load_within(const uint8_t *at, const uint8_t *end)
{
    if (end - at >= 8)
        return load64(at);
    uint8_t padded[8] = {0};
    memcpy(padded, at, (size_t)(end - at));
    return load64(padded);
}

/* Loads of eight bytes that may overlap: the first and the last of every run, the second and the last but one of those
 * longer than 16, and what lies between in those longer than 32. */
static uint64_t hash_run(const uint8_t *start, int64_t length, const uint8_t *limit)
{
    uint64_t hash = load_within(start, limit);
    if (length < 8)
        hash &= ((uint64_t)1 << 8 * length) - 1;
    hash = stir(hash + (uint64_t)length * GOLDEN, FIRST);
    if (length <= 8)
        return hash;
    const uint8_t *end = start + length;
    uint64_t tail = stir(load64(end - 8), SECOND) + hash;
    if (length > 16)
        tail += stir(stir(load64(start + 8), SECOND) + load64(end - 16), FIRST);
    hash = stir(tail, SECOND);
    uint64_t turn = GOLDEN;
    for (const uint8_t *at = start + 16; at < end - 16; at += 8, turn += GOLDEN)
        hash += scrambled(load64(at) + turn);
    return hash;
}

/* Hash of data[starts[i]:ends[i]] for each run, within data[:size]; returns how many are longer than `longest`, which
 * are left 0. */
KERNEL int64_t sm_hash_runs(const uint8_t *data, int64_t size, const int64_t *starts, const int64_t *ends, int64_t runs,
                            int64_t longest, uint64_t *hashes)
{
    int64_t left = 0;
    for (int64_t run = 0; run < runs; run++) {
        int64_t length = ends[run] - starts[run];
        if (length > longest) {
            hashes[run] = 0;
            left++;
        } else {
            hashes[run] = hash_run(data + starts[run], length, data + size);
        }
    }
    return left;
}
