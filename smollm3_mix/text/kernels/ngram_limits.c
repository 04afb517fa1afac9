/* How often the n-grams of documents occur, and which limit on them each document passes first. */
#include "kernels.h"

#define MANY 255           /* so often and more */
#define HUGE_SHARE 1e6 /* of a document's code points: more than n-grams can take up */

typedef struct {
    uint64_t key;
    uint32_t turn, group; /* the slot is taken in the turn it says, so the table is not cleared between two */
} Slot;

/* The n-grams of a document that may be repeated: those whose shorter ones are. */
typedef struct {
    Slot *slots;
    uint8_t *crowd; /* counts of the first look */
    uint32_t turn;
    int counted;                        /* whether the places have groups */
    uint32_t *places, *groups, *counts; /* token each begins at; its group of equal ones; how many that has */
    int64_t some, size;                 /* how many places, and of how many tokens an n-gram is */
} Grams;

typedef struct {
    const uint64_t *hashes;
    const int64_t *sums; /* running sum of the tokens' code points */
    int64_t tokens, chars, spaced;
} Document;

typedef struct {
    const int64_t *ns; /* ascending */
    const double *limits;
    const uint8_t *tops; /* whether each is on the most frequent n-gram, not on duplicates */
    int64_t count, scale, occurrences;
} Rules;

/* Code points of the n-gram at a place, those that it has before the document's end, and of the spaces in it. */
static int64_t taken_by(const Document *document, int64_t place, int64_t size)
{
    int64_t end = place + size < document->tokens ? place + size : document->tokens;
    return document->sums[end] - document->sums[place] + document->spaced * (size - 1);
}

/* The first look: a small table counts all n-grams of a size by some bits of their hashes, never too few. Returns
 * whether, by that count, the n-grams of a place, of `longest` tokens at most, may take up more than `least`. */
static int look(Grams *grams, const Document *document, int64_t size, int64_t longest, int64_t least)
{
    const uint64_t *hashes = document->hashes;
    int64_t whole = document->tokens - size + 1;
    int shift = 64 - bits_for(8 * whole);
    uint64_t polynomial = 0, out = 1; /* out: what the token that leaves was multiplied by */
    for (int64_t nth = 0; nth < size; nth++)
        polynomial = polynomial * STIR + hashes[nth];
    for (int64_t nth = 1; nth < size; nth++)
        out *= STIR;
    memset(grams->crowd, 0, (size_t)1 << (64 - shift));
    for (int64_t place = 0;; place++) {
        uint32_t slot = (uint32_t)(((polynomial ^ polynomial >> 32) * FIRST) >> shift);
        grams->groups[place] = slot;
        grams->crowd[slot] += grams->crowd[slot] < MANY;
        if (place + 1 == whole)
            break;
        polynomial = (polynomial - hashes[place] * out) * STIR + hashes[place + size];
    }
    int64_t some = 0;
    int may_pass = 0;
    for (int64_t place = 0; place < whole; place++) {
        int64_t times = grams->crowd[grams->groups[place]];
        grams->places[some] = (uint32_t)place;
        some += times > 1;
        may_pass |= times * taken_by(document, place, longest) > least;
        may_pass |= times == MANY;
    }
    grams->some = some;
    grams->size = size;
    grams->counted = 0;
    return may_pass;
}

/* Equal n-grams become one group, numbered by the first of each; returns how many groups. */
static int64_t count(Grams *grams, const Document *document)
{
    int bits = bits_for(2 * grams->some);
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint32_t turn = ++grams->turn, groups = 0;
    for (int64_t nth = 0; nth < grams->some; nth++) {
        const uint64_t *hashes = document->hashes + grams->places[nth];
        uint64_t key = hashes[0];
        for (int64_t ahead = 1; ahead < grams->size; ahead++)
            key = key * STIR + hashes[ahead];
        uint64_t at = ((key ^ key >> 32) * FIRST) >> (64 - bits);
        while (grams->slots[at].turn == turn && grams->slots[at].key != key)
            at = (at + 1) & mask;
        if (grams->slots[at].turn != turn) {
            grams->slots[at] = (Slot){key, turn, groups};
            grams->counts[groups++] = 0;
        }
        grams->groups[nth] = grams->slots[at].group;
        grams->counts[grams->groups[nth]]++;
    }
    grams->counted = 1;
    return groups;
}

/* Whether the most frequent n-gram, of several the first, takes up more than the limit, its spaces with it. */
static int top_passes(const Grams *grams, const Document *document, int64_t groups, double limit, int64_t occurrences)
{
    int64_t most = 1, top = -1, place = 0; /* where none is repeated, the document's first */
    for (int64_t group = 0; group < groups; group++)
        if (grams->counts[group] > most) {
            most = grams->counts[group];
            top = group;
        }
    for (int64_t nth = 0; top >= 0 && nth < grams->some; nth++)
        if (grams->groups[nth] == top) {
            place = grams->places[nth];
            break;
        }
    int64_t taken = taken_by(document, place, grams->size);
    return most >= occurrences && (double)(most * taken) / (double)document->chars > limit;
}

/* Whether n-grams that stand in the document before, taken from its beginning without overlap, take up more than the
 * limit, without spaces. */
static int duplicates_pass(const Grams *grams, const Document *document, double limit)
{
    int64_t taken = 0, free = 0;
    uint32_t next = 0; /* the first of a group is the one whose number is the next */
    for (int64_t nth = 0; nth < grams->some; nth++) {
        int64_t place = grams->places[nth];
        if (grams->groups[nth] == next)
            next++;
        else if (place >= free) {
            taken += document->sums[place + grams->size] - document->sums[place];
            free = place + grams->size;
        }
    }
    return (double)taken / (double)(document->chars ? document->chars : 1) > limit;
}

/* Places whose n-grams may be repeated, as far as they are counted, and whose neighbours' may, so that a longer one may
 * be. */
static void lengthen(Grams *grams, const Document *document, int64_t size)
{
    int64_t longer = size - grams->size, run = 0, kept = 0;
    int64_t last = -2;
    for (int64_t nth = 0; nth < grams->some; nth++) {
        int64_t place = grams->places[nth];
        if (grams->counted && grams->counts[grams->groups[nth]] < 2)
            continue;
        run = place == last + 1 ? run + 1 : 1;
        last = place;
        if (run > longer && place - longer + size <= document->tokens)
            grams->places[kept++] = (uint32_t)(place - longer);
    }
    grams->some = kept;
    grams->size = size;
}

/* n of the first limit passed: of the top n-grams, then of the duplicates; 0 where none is. Limits on top n-grams are
 * left aside where a count that is never too low says that none passes. */
static int64_t first_exceeded_limit(Grams *grams, const Document *document, const Rules *rules)
{
    int64_t passed = 0, left = 0, longest = 1; /* left: limits on top n-grams to come */
    double least = HUGE_SHARE;
    for (int64_t rule = 0; rule < rules->count; rule++)
        if (rules->tops[rule]) {
            left++;
            longest = rules->ns[rule] * rules->scale;
            least = rules->limits[rule] < least ? rules->limits[rule] : least;
        }
    if (!rules->count || rules->ns[0] * rules->scale > document->tokens)
        return 0;
    least = (double)document->chars * least * 0.999999 - 1; /* less by more than rounding can make it greater */
    if (!look(grams, document, rules->ns[0] * rules->scale, longest, (int64_t)least))
        left = 0;
    for (int64_t rule = 0; rule < rules->count && (!passed || left); rule++) {
        int64_t size = rules->ns[rule] * rules->scale;
        if (size > document->tokens)
            break;
        if (rules->tops[rule] && !left)
            continue;
        if (size > grams->size)
            lengthen(grams, document, size);
        int64_t groups = count(grams, document);
        if (rules->tops[rule]) {
            left--;
            if (top_passes(grams, document, groups, rules->limits[rule], rules->occurrences))
                return rules->ns[rule];
        } else if (!passed && duplicates_pass(grams, document, rules->limits[rule]))
            passed = rules->ns[rule];
    }
    return passed;
}

int64_t sm_ngram_limits(const uint64_t *hashes, const int64_t *sums, const int64_t *first, const int64_t *chars,
                 const Flag *wanted, int64_t rows, int64_t spaced, int64_t scale, const int64_t *ns,
                 const double *limits, const Flag *tops, int64_t rules, int64_t occurrences, int64_t *passed)
{
    int64_t most = 8;
    for (int64_t row = 0; row < rows; row++)
        if (wanted[row] && first[row + 1] - first[row] > most)
            most = first[row + 1] - first[row];
    Rules limits_of = {ns, limits, tops, rules, scale, occurrences};
    Grams grams = {.slots = calloc((size_t)1 << bits_for(2 * most), sizeof(Slot)),
                   .crowd = malloc((size_t)1 << bits_for(8 * most)),
                   .places = malloc((size_t)most * 3 * sizeof(uint32_t))};
    int64_t state = most < INT32_MAX / 8 && grams.slots && grams.crowd && grams.places ? 0 : -1;
    grams.groups = grams.places + most;
    grams.counts = grams.groups + most;
    for (int64_t row = 0; row < rows && !state; row++) {
        Document document = {hashes + first[row], sums + first[row], first[row + 1] - first[row], chars[row], spaced};
        passed[row] = 0;
        if (wanted[row])
            passed[row] = first_exceeded_limit(&grams, &document, &limits_of);
    }
    free(grams.slots);
    free(grams.crowd);
    free(grams.places);
    return state;
}
