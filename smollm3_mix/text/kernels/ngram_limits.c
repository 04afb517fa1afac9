/* Find the first limit on repeated n-grams that each document exceeds. */
#include "kernels.h"

#define SATURATED 255 /* the largest count of the sketch */
#define ANY_SHARE 1e6 /* share of a document that no n-gram can exceed */

typedef struct {
    uint64_t key;
    uint32_t generation, group; /* a slot is used in its own generation only, so the table is never cleared */
} Slot;

/* N-grams of a document that may be repeated: those whose shorter n-grams are repeated. */
typedef struct {
    Slot *slots;
    uint8_t *sketch; /* counts by some bits of the hash, never too low */
    uint32_t generation;
    int grouped;                           /* 1 if the positions have groups */
    uint32_t *positions, *groups, *counts; /* first token; group of equal n-grams; size of the group */
    int64_t candidates, size;              /* number of positions; tokens per n-gram */
} Ngrams;

typedef struct {
    const uint64_t *hashes;
    const int64_t *sums; /* running sum of the code points of the tokens */
    int64_t tokens, chars, separator;
} Document;

typedef struct {
    const int64_t *ns; /* ascending */
    const double *limits;
    const uint8_t *tops; /* 1 for a limit on the most frequent n-gram, 0 for one on duplicates */
    int64_t count, scale, occurrences;
} Rules;

/* Return the code points of the n-gram at a position up to the end of the document, plus those of the separators. */
static int64_t ngram_points(const Document *document, int64_t position, int64_t size)
{
    int64_t end = position + size < document->tokens ? position + size : document->tokens;
    return document->sums[end] - document->sums[position] + document->separator * (size - 1);
}

/* Count all n-grams of a size in a small table by some bits of their hashes. The counts are never too low. Return 1 if,
 * by these counts, n-grams of at most `longest` tokens may take up more than `least` code points. */
static int may_exceed_top_limits(Ngrams *ngrams, const Document *document, int64_t size, int64_t longest, int64_t least)
{
    const uint64_t *hashes = document->hashes;
    int64_t ngram_count = document->tokens - size + 1;
    int shift = 64 - bits_for(8 * ngram_count);
    uint64_t polynomial = 0, leaving = 1; /* leaving: the factor of the token that leaves */
    for (int64_t nth = 0; nth < size; nth++)
        polynomial = polynomial * MIX_FACTOR + hashes[nth];
    for (int64_t nth = 1; nth < size; nth++)
        leaving *= MIX_FACTOR;
    memset(ngrams->sketch, 0, (size_t)1 << (64 - shift));
    for (int64_t position = 0;; position++) {
        uint32_t slot = (uint32_t)(((polynomial ^ polynomial >> 32) * FIRST) >> shift);
        ngrams->groups[position] = slot;
        ngrams->sketch[slot] += ngrams->sketch[slot] < SATURATED;
        if (position + 1 == ngram_count)
            break;
        polynomial = (polynomial - hashes[position] * leaving) * MIX_FACTOR + hashes[position + size];
    }
    int64_t candidates = 0;
    int may_exceed = 0;
    for (int64_t position = 0; position < ngram_count; position++) {
        int64_t times = ngrams->sketch[ngrams->groups[position]];
        ngrams->positions[candidates] = (uint32_t)position;
        candidates += times > 1;
        may_exceed |= times * ngram_points(document, position, longest) > least;
        may_exceed |= times == SATURATED;
    }
    ngrams->candidates = candidates;
    ngrams->size = size;
    ngrams->grouped = 0;
    return may_exceed;
}

/* Group equal n-grams. Groups are numbered by first occurrence. Return the number of groups. */
static int64_t count(Ngrams *ngrams, const Document *document)
{
    int bits = bits_for(2 * ngrams->candidates);
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint32_t generation = ++ngrams->generation, groups = 0;
    for (int64_t nth = 0; nth < ngrams->candidates; nth++) {
        const uint64_t *hashes = document->hashes + ngrams->positions[nth];
        uint64_t key = hashes[0];
        for (int64_t offset = 1; offset < ngrams->size; offset++)
            key = key * MIX_FACTOR + hashes[offset];
        uint64_t at = ((key ^ key >> 32) * FIRST) >> (64 - bits);
        while (ngrams->slots[at].generation == generation && ngrams->slots[at].key != key)
            at = (at + 1) & mask;
        if (ngrams->slots[at].generation != generation) {
            ngrams->slots[at] = (Slot){key, generation, groups};
            ngrams->counts[groups++] = 0;
        }
        ngrams->groups[nth] = ngrams->slots[at].group;
        ngrams->counts[ngrams->groups[nth]]++;
    }
    ngrams->grouped = 1;
    return groups;
}

/* Return 1 if the most frequent n-gram, with its separators, takes up more than the limit. Of several, the first
 * counts. */
static int top_exceeds(const Ngrams *ngrams, const Document *document, int64_t groups, double limit,
                       int64_t occurrences)
{
    int64_t most = 1, top = -1, position = 0; /* without repetition, the first n-gram */
    for (int64_t group = 0; group < groups; group++)
        if (ngrams->counts[group] > most) {
            most = ngrams->counts[group];
            top = group;
        }
    for (int64_t nth = 0; top >= 0 && nth < ngrams->candidates; nth++)
        if (ngrams->groups[nth] == top) {
            position = ngrams->positions[nth];
            break;
        }
    int64_t covered = ngram_points(document, position, ngrams->size);
    return most >= occurrences && (double)(most * covered) / (double)document->chars > limit;
}

/* Return 1 if n-grams that equal an earlier one take up more than the limit, without separators. They are taken from
 * the start of the document without overlap. */
static int duplicates_exceed(const Ngrams *ngrams, const Document *document, double limit)
{
    int64_t covered = 0, next_free = 0;
    uint32_t next = 0; /* a group number that is new belongs to a first occurrence */
    for (int64_t nth = 0; nth < ngrams->candidates; nth++) {
        int64_t position = ngrams->positions[nth];
        if (ngrams->groups[nth] == next)
            next++;
        else if (position >= next_free) {
            covered += document->sums[position + ngrams->size] - document->sums[position];
            next_free = position + ngrams->size;
        }
    }
    return (double)covered / (double)(document->chars ? document->chars : 1) > limit;
}

/* Keep the positions at which an n-gram of `size` tokens may be repeated: the shorter n-grams in it are. */
static void extend(Ngrams *ngrams, const Document *document, int64_t size)
{
    int64_t longer = size - ngrams->size, run = 0, kept = 0;
    int64_t last = -2;
    for (int64_t nth = 0; nth < ngrams->candidates; nth++) {
        int64_t position = ngrams->positions[nth];
        if (ngrams->grouped && ngrams->counts[ngrams->groups[nth]] < 2)
            continue;
        run = position == last + 1 ? run + 1 : 1;
        last = position;
        if (run > longer && position - longer + size <= document->tokens)
            ngrams->positions[kept++] = (uint32_t)(position - longer);
    }
    ngrams->candidates = kept;
    ngrams->size = size;
}

/* Return n of the first limit that is exceeded, or 0: limits on the top n-grams first, then on duplicates. Limits on
 * top n-grams are skipped if the counts of the sketch, which are never too low, rule them out. */
static int64_t first_exceeded_limit(Ngrams *ngrams, const Document *document, const Rules *rules)
{
    int64_t exceeded = 0, pending = 0, longest = 1; /* pending: limits on top n-grams that are not checked yet */
    double least = ANY_SHARE;
    for (int64_t rule = 0; rule < rules->count; rule++)
        if (rules->tops[rule]) {
            pending++;
            longest = rules->ns[rule] * rules->scale;
            least = rules->limits[rule] < least ? rules->limits[rule] : least;
        }
    if (!rules->count || rules->ns[0] * rules->scale > document->tokens)
        return 0;
    least = (double)document->chars * least * 0.999999 - 1; /* lower by more than the rounding error */
    if (!may_exceed_top_limits(ngrams, document, rules->ns[0] * rules->scale, longest, (int64_t)least))
        pending = 0;
    for (int64_t rule = 0; rule < rules->count && (!exceeded || pending); rule++) {
        int64_t size = rules->ns[rule] * rules->scale;
        if (size > document->tokens)
            break;
        if (rules->tops[rule] && !pending)
            continue;
        if (size > ngrams->size)
            extend(ngrams, document, size);
        int64_t groups = count(ngrams, document);
        if (rules->tops[rule]) {
            pending--;
            if (top_exceeds(ngrams, document, groups, rules->limits[rule], rules->occurrences))
                return rules->ns[rule];
        } else if (!exceeded && duplicates_exceed(ngrams, document, rules->limits[rule]))
            exceeded = rules->ns[rule];
    }
    return exceeded;
}

int64_t sm_ngram_limits(const uint64_t *hashes, const int64_t *sums, const int64_t *first, const int64_t *chars,
                        const Flag *selected, int64_t rows, int64_t separator, int64_t scale, const int64_t *ns,
                        const double *limits, const Flag *tops, int64_t rules, int64_t occurrences, int64_t *exceeded)
{
    int64_t most = 8;
    for (int64_t row = 0; row < rows; row++)
        if (selected[row] && first[row + 1] - first[row] > most)
            most = first[row + 1] - first[row];
    Rules limits_of = {ns, limits, tops, rules, scale, occurrences};
    Ngrams ngrams = {.slots = calloc((size_t)1 << bits_for(2 * most), sizeof(Slot)),
                     .sketch = malloc((size_t)1 << bits_for(8 * most)),
                     .positions = malloc((size_t)most * 3 * sizeof(uint32_t))};
    int64_t state = most < INT32_MAX / 8 && ngrams.slots && ngrams.sketch && ngrams.positions ? 0 : -1;
    ngrams.groups = ngrams.positions + most;
    ngrams.counts = ngrams.groups + most;
    for (int64_t row = 0; row < rows && !state; row++) {
        Document document = {hashes + first[row], sums + first[row], first[row + 1] - first[row], chars[row],
                             separator};
        exceeded[row] = 0;
        if (selected[row])
            exceeded[row] = first_exceeded_limit(&ngrams, &document, &limits_of);
    }
    free(ngrams.slots);
    free(ngrams.sketch);
    free(ngrams.positions);
    return state;
}
