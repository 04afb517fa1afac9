/* MinHash signatures of documents, from the hashes of their words. */
#include "kernels.h"

#define EMPTY UINT64_MAX /* minimum of a bin that no shingle fell into */

/* One permutation hashing (Li, Owen & Zhang 2012): each shingle of n words counts for the bin that its hash falls into,
 * and each bin keeps the least. A document of fewer words has one shingle, of all of them. */
static void least(const uint64_t *words, int64_t count, int64_t n, int64_t bins, uint64_t *minima)
{
    for (int64_t bin = 0; bin < bins; bin++)
        minima[bin] = EMPTY;
    if (n > count)
        n = count;
    uint64_t polynomial = 0, out = 1; /* out: what the word that leaves the shingle was multiplied by */
    for (int64_t at = 0; at < n; at++)
        polynomial = polynomial * GOLDEN + words[at];
    for (int64_t at = 1; at < n; at++)
        out *= GOLDEN;
    for (int64_t at = 0;; at++) {
        uint64_t value = polynomial ^ polynomial >> 32;
        value *= STIR;
        value ^= value >> 32;
        uint64_t bin = (value >> 32) * (uint64_t)bins >> 32;
        minima[bin] = value < minima[bin] ? value : minima[bin]; /* stored anyway: which is less cannot be foreseen */
        if (at + n >= count)
            break;
        polynomial = (polynomial - words[at] * out) * GOLDEN + words[at + n];
    }
}

/* Empty bins take the minimum of the first that is not, in an order of their own (Shrivastava 2017): donors[turn][bin]
 * is whom a bin asks at its turn. Where few bins have one, those offer it instead: offers[bin][asks] is at which turn
 * `asks` comes to bin, times 2^shift, plus bin. Returns whether all are filled, as they are unless the tables name a bin
 * that does not exist or is empty. */
static int fill(uint64_t *minima, int64_t bins, const int64_t *donors, const uint32_t *offers, int shift,
                 uint64_t *filled, uint32_t *best)
{
    int64_t some = 0;
    for (int64_t bin = 0; bin < bins; bin++)
        some += minima[bin] != EMPTY;
    if (4 * some >= bins) {
        for (int64_t bin = 0; bin < bins; bin++) {
            uint64_t value = minima[bin];
            for (int64_t turn = 0; value == EMPTY; turn++) {
                uint64_t donor = turn < bins ? (uint64_t)donors[turn * bins + bin] : UINT64_MAX;
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
        for (int64_t asks = 0; asks < bins; asks++)
            best[asks] = offer[asks] < best[asks] ? offer[asks] : best[asks];
    }
    for (int64_t bin = 0; bin < bins; bin++) {
        uint32_t donor = best[bin] & (((uint32_t)1 << shift) - 1);
        if (donor >= bins)
            return 0;
        filled[bin] = minima[donor];
    }
    return 1;
}

int64_t sm_minhash_signatures(const uint64_t *hashes, const int64_t *first, const Flag *wanted, int64_t rows, int64_t n,
                      int64_t bands, int64_t rows_of_band, int64_t bits, const int64_t *donors,
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
        if (!count || !wanted[row])
            continue;
        least(hashes + first[row], count, n, bins, minima);
        if (!fill(minima, bins, donors, offers, (int)shift, filled, best)) {
            free(minima);
            return REFUSED;
        }
        for (int64_t bin = 0; bin < bins; bin++)
            keys[bin / rows_of_band] |= filled[bin] * factors[bin] >> (64 - bits) << bin % rows_of_band * bits;
    }
    free(minima);
    return 0;
}
