/* MinHash signatures of documents, from the hashes of their words. */
#include "kernels.h"

#define EMPTY UINT64_MAX /* minimum of a bin without shingles */

/* One permutation hashing (Li, Owen & Zhang 2012): each shingle of n words belongs to the bin that its hash selects,
 * and each bin keeps the minimum. A document of fewer words is one shingle. */
static void bin_minima(const uint64_t *words, int64_t count, int64_t n, int64_t bins, uint64_t *minima)
{
    for (int64_t bin = 0; bin < bins; bin++)
        minima[bin] = EMPTY;
    if (n > count)
        n = count;
    uint64_t polynomial = 0, leaving = 1; /* leaving: the factor of the word that leaves */
    for (int64_t at = 0; at < n; at++)
        polynomial = polynomial * GOLDEN + words[at];
    for (int64_t at = 1; at < n; at++)
        leaving *= GOLDEN;
    for (int64_t at = 0;; at++) {
        uint64_t value = polynomial ^ polynomial >> 32;
        value *= MIX_FACTOR;
        value ^= value >> 32;
        uint64_t bin = (value >> 32) * (uint64_t)bins >> 32;
        minima[bin] = value < minima[bin] ? value : minima[bin]; /* branch-free, because the outcome is unpredictable */
        if (at + n >= count)
            break;
        polynomial = (polynomial - words[at] * leaving) * GOLDEN + words[at + n];
    }
}

/* Fill each empty bin with the minimum of its first donor that is not empty (Shrivastava 2017). donors[rank][bin] is
 * the donor of that rank. If few bins are occupied, iterate over these instead: offers[bin][receiver] is the rank of
 * `bin` among the donors of `receiver`, times 2^shift, plus bin. Return 0 if the tables name bins that are empty or do
 * not exist, else 1. */
static int densify(uint64_t *minima, int64_t bins, const int64_t *donors, const uint32_t *offers, int shift,
                   uint64_t *filled, uint32_t *best)
{
    int64_t occupied = 0;
    for (int64_t bin = 0; bin < bins; bin++)
        occupied += minima[bin] != EMPTY;
    if (4 * occupied >= bins) {
        for (int64_t bin = 0; bin < bins; bin++) {
            uint64_t value = minima[bin];
            for (int64_t rank = 0; value == EMPTY; rank++) {
                uint64_t donor = rank < bins ? (uint64_t)donors[rank * bins + bin] : UINT64_MAX;
                if (donor >= (uint64_t)bins)
                    return 0;
                value = minima[donor];
            }
            filled[bin] = value;
        }
        return 1;
    }
    for (int64_t bin = 0; bin < bins; bin++)
        best[bin] = UINT32_MAX;
    for (int64_t bin = 0; bin < bins; bin++) {
        if (minima[bin] == EMPTY)
            continue;
        const uint32_t *offer = offers + bin * bins;
        for (int64_t receiver = 0; receiver < bins; receiver++)
            best[receiver] = offer[receiver] < best[receiver] ? offer[receiver] : best[receiver];
    }
    for (int64_t bin = 0; bin < bins; bin++) {
        uint32_t donor = best[bin] & (((uint32_t)1 << shift) - 1);
        if (donor >= bins)
            return 0;
        filled[bin] = minima[donor];
    }
    return 1;
}

int64_t sm_minhash_signatures(const uint64_t *hashes, const int64_t *first, const Flag *selected, int64_t rows,
                              int64_t n, int64_t bands, int64_t rows_of_band, int64_t bits, const int64_t *donors,
                              const uint32_t *offers, int64_t shift, const uint64_t *factors, uint64_t *keys)
{
    int64_t bins = bands * rows_of_band;
    uint64_t *minima = malloc((size_t)bins * (2 * sizeof(uint64_t) + sizeof(uint32_t)));
    if (!minima)
        return -1;
    uint64_t *filled = minima + bins;
    uint32_t *best = (uint32_t *)(filled + bins);
    memset(keys, 0, (size_t)(rows * bands) * sizeof(uint64_t));
    for (int64_t row = 0; row < rows; row++, keys += bands) {
        int64_t count = first[row + 1] - first[row];
        if (!count || !selected[row])
            continue;
        bin_minima(hashes + first[row], count, n, bins, minima);
        if (!densify(minima, bins, donors, offers, (int)shift, filled, best)) {
            free(minima);
            return REFUSED;
        }
        for (int64_t bin = 0; bin < bins; bin++)
            keys[bin / rows_of_band] |= filled[bin] * factors[bin] >> (64 - bits) << bin % rows_of_band * bits;
    }
    free(minima);
    return 0;
}
