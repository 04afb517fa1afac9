/* Where the words of a block are, and their hashes. */
#include "characters.h"
#include "hashes.h"

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
    uint8_t space[64], wide[64], any = 0;
    for (int k = 0; k < 64; k++) {
        uint8_t byte = part[k];
        space[k] = (byte == 0x20) | ((uint8_t)(byte - 0x09) < 5) | ((uint8_t)(byte - 0x1C) < 4);
        wide[k] = (byte == 0xC2) | ((uint8_t)(byte - 0xE1) < 3);
        any |= wide[k];
    }
    uint64_t found = bits_of(space) | *spill;
    *spill = 0;
    if (!any)
        return found;
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

static inline int64_t ones(uint64_t bits)
{
    bits -= bits >> 1 & 0x5555555555555555u;
    bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
    return (int64_t)(((bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* Numbers of the bits that are set, plus `base`. Eight are written at a time, set or not: how many are cannot be
 * foreseen. Returns how many. */
static inline int64_t numbers(uint64_t bits, int64_t base, int64_t *found)
{
    int64_t count = ones(bits);
    for (int64_t done = 0; done < count; done += 8)
        for (int nth = 0; nth < 8; nth++) {
            found[done + nth] = base + lowest(bits | (uint64_t)1 << 63);
            bits &= bits - 1;
        }
    return count;
}

int64_t sm_find_words(const uint8_t *data, const int64_t *offsets, int64_t rows, int64_t *starts, int64_t *ends,
                 int64_t *first)
{
    int64_t begun = 0, ended = 0;
    for (int64_t row = 0; row < rows; row++) {
        first[row] = ended;
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
            uint64_t word = ~spaces(part, data + at, data + end, &spill), before = word << 1 | inside;
            begun += numbers(word & ~before, at, starts + begun);
            ended += numbers(~word & before, at, ends + ended);
            inside = word >> 63;
        }
        if (inside)
            ends[ended++] = end;
    }
    first[rows] = ended;
    return ended;
}

/* How many bytes continue a code point. */
static inline int64_t inner(uint64_t bytes)
{
    return (int64_t)((bytes >> 7 & ~(bytes >> 6) & 0x0101010101010101u) * 0x0101010101010101u >> 56);
}

/* Bits of what a word holds. One with neither is of signs alone. */
enum { LETTER = 1, NUMBER = 2 };

/* What at:end, valid UTF-8, holds up to its first letter, as table[code point] has it. */
static int held(const uint8_t *at, const uint8_t *end, const uint8_t *table, int64_t codes)
{
    int found = 0;
    while (at < end && !(found & LETTER))
        found |= table[next_code(&at, end, codes)];
    return found;
}

/* The upper bit of each of eight ASCII bytes that lies between two others or is one of them. */
static inline uint64_t within(uint64_t bytes, uint8_t first, uint8_t last)
{
    uint64_t from = bytes + (uint64_t)(0x80 - first) * 0x0101010101010101u;
    uint64_t behind = bytes + (uint64_t)(0x7F - last) * 0x0101010101010101u;
    return from & ~behind & 0x8080808080808080u;
}

/* What the words of a block are spelt of: valid UTF-8 up to `limit`; LETTER or NUMBER by code point. */
typedef struct {
    const uint8_t *limit, *table;
    int64_t codes, longest;
} Text;

/* Code points of a word, its hash and what it holds. The length of one of up to 16 bytes decides no branch, as it
 * cannot be foreseen. */
static inline int64_t spell(const Text *text, const uint8_t *start, int64_t length, uint64_t *hash_, int *holds)
{
    const uint8_t *end = start + length;
    if (length > 16 || text->limit - start < 8) {
        *hash_ = length > text->longest ? 0 : hash_run(start, length, text->limit);
        *holds = held(start, end, text->table, text->codes);
        return code_points(start, end);
    }
    uint64_t head = load64(start), tail = 0;
    if (length < 8)
        head &= ((uint64_t)1 << 8 * length) - 1;
    uint64_t hash = stir(head + (uint64_t)length * GOLDEN, FIRST);
    if (length > 8) {
        tail = load64(end - 8);
        hash = stir(stir(tail, SECOND) + hash, SECOND);
    }
    *hash_ = hash;
    if (((head | tail) & 0x8080808080808080u) == 0) {
        if (within(head | 0x2020202020202020u, 'a', 'z'))
            *holds = LETTER;
        else if (length > 8)
            *holds = held(start, end, text->table, text->codes);
        else
            *holds = within(head, '0', '9') ? NUMBER : 0;
        return length;
    }
    *holds = held(start, end, text->table, text->codes);
    return length - inner(head) - (length > 8 ? inner(tail >> (128 - 8 * length)) : 0);
}

int64_t sm_word_features(const uint8_t *data, int64_t size, const int64_t *starts, const int64_t *ends,
                 const int64_t *first, int64_t rows, int64_t longest, const uint8_t *table, int64_t codes,
                 uint64_t *hashes, int64_t *places, int64_t *counts)
{
    const Text text = {data + size, table, codes, longest};
    int64_t left = 0, place = 0;
    places[0] = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t lettered = 0, signs = 0, points = 0, stop = first[row + 1];
        for (int64_t word = first[row]; word < stop; word++) {
            int64_t length = ends[word] - starts[word];
            int holds;
            int64_t code_count = spell(&text, data + starts[word], length, &hashes[word], &holds);
            places[word + 1] = place += code_count;
            lettered += holds & LETTER;
            if (!holds) {
                signs++;
                points += code_count;
            }
            left += length > longest;
        }
        counts[row] = lettered;
        counts[rows + row] = signs;
        counts[2 * rows + row] = points;
    }
    return left;
}

int64_t sm_hash_runs(const uint8_t *data, int64_t size, const int64_t *starts, const int64_t *ends, int64_t runs,
                     int64_t longest, uint64_t *hashes)
{
    int64_t left = 0;
    for (int64_t run = 0; run < runs; run++) {
        int64_t length = ends[run] - starts[run];
        hashes[run] = length > longest ? 0 : hash_run(data + starts[run], length, data + size);
        left += length > longest;
    }
    return left;
}
