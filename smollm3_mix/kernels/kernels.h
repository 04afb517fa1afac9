/* What the kernels share. All of them are plain C11 over whole blocks: they call nothing of the system but malloc, keep
 * nothing between two calls, and give the same on every machine. Rows are documents; offsets[i] to offsets[i + 1] are
 * the bytes of row i. The face in Python checks types and lengths before a pointer gets here. */
#ifndef SMOLLM3_MIX_KERNELS_H
#define SMOLLM3_MIX_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define KERNEL __declspec(dllexport)
#else
#define KERNEL __attribute__((visibility("default")))
#endif

#define GOLDEN 0x9E3779B97F4A7C15u /* 2^64 / golden ratio, odd: the increment of splitmix64 (Steele et al. 2014) */
#define FIRST 0xBF58476D1CE4E5B9u  /* multipliers of splitmix64 */
#define SECOND 0x94D049BB133111EBu
#define STIR 0xD6E8FEB86659FD93u /* odd, of well-spread bits */

/* Eight bytes, the first the lowest, on every machine. */
static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Bit k is flags[k], of 64 flags that are 0 or 1: the product brings eight of them into the upper byte. */
static inline uint64_t bits_of(const uint8_t *flags)
{
    uint64_t bits = 0;
    for (int at = 0; at < 64; at += 8)
        bits |= (load64(flags + at) * 0x0102040810204080u >> 56) << at;
    return bits;
}

static inline int lowest(uint64_t bits)
{
    return __builtin_ctzll(bits);
}

/* Of how many bits numbers below `size` are, 4 at least. */
static inline int bits_for(int64_t size)
{
    int bits = 4;
    while ((int64_t)1 << bits < size)
        bits++;
    return bits;
}

#endif
