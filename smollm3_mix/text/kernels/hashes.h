/* Hashes of runs of bytes, and of runs of such hashes. */
#ifndef SMOLLM3_MIX_HASHES_H
#define SMOLLM3_MIX_HASHES_H

#include "kernels.h"

/* Bijection: the product with an odd factor, its upper half put into its lower half too. */
static inline uint64_t stir(uint64_t x, uint64_t factor)
{
    x *= factor;
    return x ^ x >> 32;
}

/* Finaliser of splitmix64: spreads every bit over the result. */
static inline uint64_t mix_bits(uint64_t x)
{
    x = (x ^ x >> 30) * FIRST;
    x = (x ^ x >> 27) * SECOND;
    return x ^ x >> 31;
}

/* Of a run of up to 16 bytes: `head` are the first eight at most, `tail` the last eight of one of more than eight.
 * Without branches, as lengths of words cannot be foreseen. */
static inline uint64_t hash_short(uint64_t head, uint64_t tail, int64_t length)
{
    uint64_t hash = stir(head + (uint64_t)length * GOLDEN, FIRST);
    uint64_t both = stir(stir(tail, SECOND) + hash, SECOND);
    return hash ^ ((hash ^ both) & -(uint64_t)(length > 8));
}

/* Of any run, reading none of the bytes from `limit` on: loads of eight bytes that may overlap, the first and the last
 * of every run, the second and the last but one of those longer than 16, and what lies between in those longer than
 * 32. */
static inline uint64_t hash_run(const uint8_t *start, int64_t length, const uint8_t *limit)
{
    uint8_t padded[8] = {0};
    if (limit - start < 8)
        start = memcpy(padded, start, (size_t)length & 7); /* length < 8, which compilers cannot see */
    uint64_t head = load64(start);
    if (length < 8)
        head &= ((uint64_t)1 << 8 * length) - 1;
    const uint8_t *end = start + length;
    if (length <= 16)
        return hash_short(head, length > 8 ? load64(end - 8) : 0, length);
    uint64_t hash = stir(head + (uint64_t)length * GOLDEN, FIRST);
    uint64_t tail = stir(load64(end - 8), SECOND) + hash;
    tail += stir(stir(load64(start + 8), SECOND) + load64(end - 16), FIRST);
    hash = stir(tail, SECOND);
    uint64_t turn = GOLDEN;
    for (const uint8_t *at = start + 16; at < end - 16; at += 8, turn += GOLDEN)
        hash += mix_bits(load64(at) + turn);
    return hash;
}

/* What the nth hash of a run adds to one hash for all of it, which depends on their order; turn is nth * GOLDEN. */
static inline uint64_t folded(uint64_t hash, uint64_t turn)
{
    uint64_t mixed = hash + turn;
    mixed = (mixed ^ mixed >> 32) * FIRST;
    return mixed ^ mixed >> 29;
}

#endif
