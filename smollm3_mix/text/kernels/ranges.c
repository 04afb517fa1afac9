/* Checks of arrays of integers. Their loops have no branch, so compilers vectorize them. */
#include "kernels.h"

/* Return the upper bit, which is set if the number is negative. */
static inline int64_t is_negative(uint64_t bits)
{
    return (int64_t)(bits >> 63);
}

int64_t sm_ascending(const int64_t *values, int64_t count, int64_t least, int64_t most)
{
    if (!count)
        return 1;
    uint64_t bits = (uint64_t)values[0]; /* differences of numbers that are not negative cannot overflow */
    for (int64_t at = 1; at < count; at++)
        bits |= (uint64_t)values[at] | ((uint64_t)values[at] - (uint64_t)values[at - 1]);
    return !is_negative(bits) && values[0] >= least && values[count - 1] <= most;
}

int64_t sm_within(const int64_t *lower, const int64_t *upper, int64_t count, int64_t least, int64_t most)
{
    uint64_t bits = 0, low = (uint64_t)least, high = (uint64_t)most;
    for (int64_t at = 0; at < count; at++) {
        uint64_t from = (uint64_t)lower[at], to = (uint64_t)upper[at];
        bits |= from | to | (from - low) | (to - from) | (high - to);
    }
    return !is_negative(bits);
}
