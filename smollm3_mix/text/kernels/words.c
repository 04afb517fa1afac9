/* Find the words of a block, and compute their features. */
#include "characters.h"
#include "hashes.h"

/* Return the number of bytes of the white space character at `at`, whose first byte is C2 or E1 to E3. Return 0 for any
 * other character. */
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
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
        return 3;
    default:
        return 0;
    }
}

/* Return 64 bits. Bit k is set if byte k belongs to a character that str.isspace accepts. `spill` has the bits of a
 * character that began in the previous 64 bytes. */
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

static inline int64_t popcount(uint64_t bits)
{
    bits -= bits >> 1 & 0x5555555555555555u;
    bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
    return (int64_t)(((bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* Write the numbers of the set bits, plus `base`. Always writes groups of eight, because the count is unpredictable.
 * Return the number of set bits. */
static inline int64_t set_bits(uint64_t bits, int64_t base, int64_t *found)
{
    int64_t count = popcount(bits);
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
        uint64_t spill = 0, inside = 0; /* inside: 1 if the previous byte belongs to a word */
        for (int64_t at = offsets[row]; at < end; at += 64) {
            uint8_t rest[64];
            const uint8_t *part = data + at;
            if (end - at < 64) {
                memset(rest, 0x20, 64);
                memcpy(rest, part, (size_t)(end - at));
                part = rest;
            }
            uint64_t word = ~spaces(part, data + at, data + end, &spill), before = word << 1 | inside;
            begun += set_bits(word & ~before, at, starts + begun);
            ended += set_bits(~word & before, at, ends + ended);
            inside = word >> 63;
        }
        if (inside)
            ends[ended++] = end;
    }
    first[rows] = ended;
    return ended;
}

/* Count the continuation bytes among eight bytes. */
static inline int64_t continuation_bytes(uint64_t bytes)
{
    return (int64_t)((bytes >> 7 & ~(bytes >> 6) & 0x0101010101010101u) * 0x0101010101010101u >> 56);
}

/* Classes of the characters of a word. A word with neither consists of symbols. */
enum { LETTER = 1, NUMBER = 2 };

/* Return the classes in at:end, valid UTF-8, up to its first letter. */
static int classes_of(const uint8_t *at, const uint8_t *end, const uint8_t *table, int64_t codes)
{
    int found = 0;
    while (at < end && !(found & LETTER))
        found |= table[next_code(&at, end, codes)];
    return found;
}

/* Set the upper bit of each of eight ASCII bytes that is from `first` to `last`. */
static inline uint64_t within(uint64_t bytes, uint8_t first, uint8_t last)
{
    uint64_t from = bytes + (uint64_t)(0x80 - first) * 0x0101010101010101u;
    uint64_t above = bytes + (uint64_t)(0x7F - last) * 0x0101010101010101u;
    return from & ~above & 0x8080808080808080u;
}

/* Text of a block, valid UTF-8 up to `limit`, and the table of LETTER and NUMBER by code point. */
typedef struct {
    const uint8_t *limit, *table;
    int64_t codes, longest;
} Text;

/* Return the code points of a word, and store its hash and its classes. For up to 16 bytes no branch depends on the
 * length, because it is unpredictable. */
static inline int64_t word_feature(const Text *text, const uint8_t *start, int64_t length, uint64_t *word_hash,
                                   int *classes)
{
    const uint8_t *end = start + length;
    if (length > 16 || text->limit - start < 8) {
        *word_hash = length > text->longest ? 0 : hash_run(start, length, text->limit);
        *classes = classes_of(start, end, text->table, text->codes);
        return code_points(start, end);
    }
    uint64_t head = load64(start), tail = 0;
    if (length < 8)
        head &= ((uint64_t)1 << 8 * length) - 1;
    uint64_t hash = multiply_fold(head + (uint64_t)length * GOLDEN, FIRST);
    if (length > 8) {
        tail = load64(end - 8);
        hash = multiply_fold(multiply_fold(tail, SECOND) + hash, SECOND);
    }
    *word_hash = hash;
    if (((head | tail) & 0x8080808080808080u) == 0) {
        if (within(head | 0x2020202020202020u, 'a', 'z'))
            *classes = LETTER;
        else if (length > 8)
            *classes = classes_of(start, end, text->table, text->codes);
        else
            *classes = within(head, '0', '9') ? NUMBER : 0;
        return length;
    }
    *classes = classes_of(start, end, text->table, text->codes);
    return length - continuation_bytes(head) - (length > 8 ? continuation_bytes(tail >> (128 - 8 * length)) : 0);
}

int64_t sm_word_features(const uint8_t *data, int64_t size, const int64_t *starts, const int64_t *ends,
                         const int64_t *first, int64_t rows, int64_t longest, const uint8_t *table, int64_t codes,
                         uint64_t *hashes, int64_t *code_point_offsets, int64_t *counts)
{
    const Text text = {data + size, table, codes, longest};
    int64_t too_long = 0, total = 0;
    code_point_offsets[0] = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t with_letters = 0, symbol_words = 0, points = 0, stop = first[row + 1];
        for (int64_t word = first[row]; word < stop; word++) {
            int64_t length = ends[word] - starts[word];
            int classes;
            int64_t code_count = word_feature(&text, data + starts[word], length, &hashes[word], &classes);
            code_point_offsets[word + 1] = total += code_count;
            with_letters += classes & LETTER;
            if (!classes) {
                symbol_words++;
                points += code_count;
            }
            too_long += length > longest;
        }
        counts[row] = with_letters;
        counts[rows + row] = symbol_words;
        counts[2 * rows + row] = points;
    }
    return too_long;
}

int64_t sm_hash_runs(const uint8_t *data, int64_t size, const int64_t *starts, const int64_t *ends, int64_t runs,
                     int64_t longest, uint64_t *hashes)
{
    int64_t too_long = 0;
    for (int64_t run = 0; run < runs; run++) {
        int64_t length = ends[run] - starts[run];
        hashes[run] = length > longest ? 0 : hash_run(data + starts[run], length, data + size);
        too_long += length > longest;
    }
    return too_long;
}
