/* Hashes of runs of bytes, and of runs of such hashes. */
#ifndef SMOLLM3_MIX_HASHES_H
#define SMOLLM3_MIX_HASHES_H

#include "kernels.h"

/* Multiply by an odd factor and xor the upper half into the lower half. A bijection. */
static inline uint64_t multiply_fold(uint64_t x, uint64_t factor)
{
    x *= factor;
    return x ^ x >> 32;
}

/* Finalizer of splitmix64: every bit of x affects every bit of the result. */
static inline uint64_t mix_bits(uint64_t x)
{
    x = (x ^ x >> 30) * FIRST;
    x = (x ^ x >> 27) * SECOND;
    return x ^ x >> 31;
}

/* Hash a run of up to 16 bytes. `head` is its first eight bytes at most, `tail` the last eight of a run of more than
 * eight. Branch-free, because lengths of words are unpredictable. */
static inline uint64_t hash_short(uint64_t head, uint64_t tail, int64_t length)
{
    uint64_t hash = multiply_fold(head + (uint64_t)length * GOLDEN, FIRST);
    uint64_t both = multiply_fold(multiply_fold(tail, SECOND) + hash, SECOND);
    return hash ^ ((hash ^ both) & -(uint64_t)(length > 8));
}

/* Hash a run of any length without reading bytes from `limit` on. Loads are of eight bytes and may overlap: the first
 * and the last of every run, the second and the second to last of runs longer than 16 bytes, and the rest of runs
 * longer than 32 bytes. */
static inline uint64_t hash_run(const uint8_t *start, int64_t length, const uint8_t *limit)
{
    uint8_t padded[8] = {0};
    if (limit - start < 8)
        start = memcpy(padded, start, (size_t)length & 7); /* length < 8, which compilers cannot infer */
    uint64_t head = load64(start);
    if (length < 8)
        head &= ((uint64_t)1 << 8 * length) - 1;
    const uint8_t *end = start + length;
    if (length <= 16)
        return hash_short(head, length > 8 ? load64(end - 8) : 0, length);
    uint64_t hash = multiply_fold(head + (uint64_t)length * GOLDEN, FIRST);
    uint64_t tail = multiply_fold(load64(end - 8), SECOND) + hash;
    tail += multiply_fold(multiply_fold(load64(start + 8), SECOND) + load64(end - 16), FIRST);
    hash = multiply_fold(tail, SECOND);
    uint64_t offset = GOLDEN;
    for (const uint8_t *at = start + 16; at < end - 16; at += 8, offset += GOLDEN)
        hash += mix_bits(load64(at) + offset);
    return hash;
}

/* Return the summand of the nth hash in an order-dependent hash of a sequence of hashes. offset is nth * GOLDEN. */
static inline uint64_t ordered_hash(uint64_t hash, uint64_t offset)
{
    uint64_t mixed = hash + offset;
    mixed = (mixed ^ mixed >> 32) * FIRST;
    return mixed ^ mixed >> 29;
}

#endif
