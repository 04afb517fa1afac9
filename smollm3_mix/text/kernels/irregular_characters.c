/* Find the characters of a block that cleaning must inspect. */
#include "kernels.h"

/* Bits of the kind of a code point. See `Alphabet.kinds` in Python. */
enum {
    REPLACED = 1,
    NOT_NFC = 2,
    MARK = 4,
    COMPOSING = 8,
    DECOMPOSES = 16,
    ZERO_WIDTH = 32,
    UNSPACED = 64,
    JOINING = 128
};

#define POINTS 0x110000
#define ZERO_WIDTH_SPACE 0x200B /* the zero-width space */
#define JOINER 0x200D
#define NONE ' ' /* for a character that does not exist: it does not join, compose or combine */

/* First bytes of characters that need no inspection, as signed bytes: C3 to CB, CF to D1, E4 to E9, EB to EE. */
enum { LATIN = 0xC3 - 0x100, CYRILLIC = 0xCF - 0x100, IDEOGRAPHS = 0xE4 - 0x100, HANGUL = 0xEB - 0x100 };

/* First and second bytes, as signed bytes: U+0387 after CE. After E3, characters of 80 and 82 have kinds, those of 81
 * have none. */
enum { GREEK = 0xCE - 0x100, ANO_TELEIA = 0x87 - 0x100 };
enum { KANA = 0xE3 - 0x100, HIRAGANA = 0x81 - 0x100, VOICED = 0x82 - 0x100 };

/* Sixteen signed bytes that are compared at once: C2 is -62. GCC and Clang split them if the registers of the machine
 * are shorter. They would compile a loop over single bytes to a chain of branches. */
typedef int8_t Sixteen __attribute__((vector_size(16)));

typedef struct {
    const uint8_t *kinds, *classes;
    const int64_t *composites;
    int64_t pairs;
} Letters;

/* Return 64 bits. Bit k is set if a character that may have a kind other than DECOMPOSES begins at byte k, or if byte k
 * is an ASCII control other than tab and line feed. The first bytes that are left out have no such characters: Latin
 * beyond its first page, Cyrillic, CJK ideographs and Hangul syllables are fully assigned, and Unicode does not change
 * how an assigned character composes. In the first half of Greek one character has a kind, in most kana none. Reads 65
 * bytes. */
static inline uint64_t find_candidates(const uint8_t *part)
{
    union {
        Sixteen four[4];
        uint8_t bytes[64];
    } flags, current, next;
    memcpy(current.bytes, part, 64);
    for (int nth = 0; nth < 4; nth++) {
        Sixteen bytes = current.four[nth];
        flags.four[nth] = ((bytes < 0x20) & (bytes != 0x09) & (bytes != 0x0A)) | (bytes == 0x7F);
    }
    Sixteen any = flags.four[0] | flags.four[1] | flags.four[2] | flags.four[3];
    uint64_t halves[2];
    memcpy(halves, &any, 16);
    if (!(halves[0] | halves[1])) /* printable ASCII, tabs and line feeds */
        return 0;
    memcpy(next.bytes, part + 1, 64);
    for (int nth = 0; nth < 4; nth++) {
        Sixteen bytes = current.four[nth], second = next.four[nth];
        Sixteen plain = ((bytes == GREEK) & (second != ANO_TELEIA)) |
                        ((bytes == KANA) & ((second == HIRAGANA) | (second > VOICED)));
        flags.four[nth] &= ~plain & (bytes > LATIN - 2) & ((bytes < LATIN) | (bytes > LATIN + 8)) &
                           ((bytes < CYRILLIC) | (bytes > CYRILLIC + 2)) &
                           ((bytes < IDEOGRAPHS) | (bytes > IDEOGRAPHS + 5)) &
                           ((bytes < HANGUL) | (bytes > HANGUL + 3));
        flags.four[nth] &= 1;
    }
    return bits_of(flags.bytes);
}

/* Return the code point of the character at `at`, NONE if it does not end before `end`. */
static inline uint32_t point_at(const uint8_t *at, const uint8_t *end)
{
    uint32_t first = at[0], point;
    if (first < 0x80)
        return first;
    if (end - at < 2 + (first >= 0xE0) + (first >= 0xF0))
        return NONE;
    if (first < 0xE0)
        return (first & 0x1F) << 6 | (at[1] & 0x3Fu);
    if (first < 0xF0)
        return (first & 0x0F) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    point = (first & 7) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
    return point < POINTS ? point : NONE;
}

/* Return the code point of the character before `at`, NONE at the start of the document. */
static uint32_t point_before(const uint8_t *at, const uint8_t *start)
{
    const uint8_t *before = at;
    while (before > start && at - before < 4) {
        before--;
        if ((*before & 0xC0) != 0x80)
            return point_at(before, at);
    }
    return NONE;
}

static int composes(const Letters *letters, uint32_t before, uint32_t point)
{
    int64_t pair = (int64_t)before << 21 | point, low = 0, high = letters->pairs;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (letters->composites[middle] < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return low < letters->pairs && letters->composites[low] == pair;
}

/* Return 1 if a mark may keep its document out of NFC. It cannot if it follows a letter that it does not compose with
 * and that has no decomposition. A mark that composes with nothing also cannot if it follows a mark of no higher class
 * (UAX #15, section 9). */
static int may_violate_nfc(const Letters *letters, uint32_t before, uint32_t point)
{
    uint8_t last = letters->classes[before], this = letters->classes[point];
    int composing = letters->kinds[point] & COMPOSING;
    if (letters->kinds[before] & DECOMPOSES || (this && (last > this || (last && composing))))
        return 1;
    return composing && composes(letters, before, point);
}

/* Return 1 if a zero-width space, joiner or non-joiner has no effect between its neighbors. */
static int is_ineffective(const Letters *letters, uint32_t before, uint32_t point, uint32_t after)
{
    uint8_t acts = point == ZERO_WIDTH_SPACE ? UNSPACED : JOINING;
    return !(letters->kinds[before] & acts) || (point != JOINER && !(letters->kinds[after] & acts));
}

/* Return 1 if a character that has a kind may be irregular in the document from `start` to `end`. */
static int is_irregular(const Letters *letters, uint32_t point, const uint8_t *at, const uint8_t *start,
                        const uint8_t *end)
{
    uint8_t kind = letters->kinds[point];
    if (kind & (REPLACED | NOT_NFC))
        return 1;
    uint32_t before = point_before(at, start);
    if (kind & MARK && may_violate_nfc(letters, before, point))
        return 1;
    return kind & ZERO_WIDTH && is_ineffective(letters, before, point, end - at > 3 ? point_at(at + 3, end) : NONE);
}

/* Spans to replace, in order. */
typedef struct {
    int64_t *starts, *ends;    /* its bytes */
    uint8_t *replacements;     /* byte that replaces the span, 0 for a whole line */
    int64_t *character_counts; /* number of irregular characters up to the end of the span */
    int64_t count;
} Spans;

static void add_span(Spans *spans, int64_t start, int64_t end, uint8_t replacements)
{
    spans->starts[spans->count] = start;
    spans->ends[spans->count] = end;
    spans->replacements[spans->count++] = replacements;
}

/* Line of the last irregular character. */
typedef struct {
    int64_t start, end; /* first byte, and end with its line feed */
    int64_t first;      /* number of the first span in the line */
    int is_span;        /* 1 if the span is the whole line */
} Line;

static Line line_of(const uint8_t *data, int64_t position, int64_t start, int64_t end, int64_t spans)
{
    int64_t first = position;
    while (first > start && data[first - 1] != '\n')
        first--;
    const uint8_t *feed = memchr(data + position, '\n', (size_t)(end - position));
    return (Line){first, feed ? feed + 1 - data : end, spans, 0};
}

/* Add the span of an irregular character. It is replaced by one byte, CR LF as a whole. Without such a byte, the whole
 * line becomes the span. */
static void add_character(Spans *spans, Line *line, const uint8_t *data, int64_t position, uint32_t point,
                          uint8_t replacements)
{
    if (line->is_span)
        return;
    if (!replacements) {
        spans->count = line->first;
        line->is_span = 1;
        add_span(spans, line->start, line->end, 0);
        return;
    }
    int64_t after = position + 1 + (point >= 0x80) + (point >= 0x800) + (point >= 0x10000);
    after += point == '\r' && after < line->end && data[after] == '\n';
    add_span(spans, position, after, replacements);
}

int64_t sm_irregular_characters(const uint8_t *data, const int64_t *offsets, int64_t rows, const uint8_t *kinds,
                                const uint8_t *replacements, const uint8_t *classes, const int64_t *composites,
                                int64_t pairs, int64_t capacity, int64_t *points, int64_t *starts, int64_t *ends,
                                uint8_t *span_replacements, int64_t *character_counts, int64_t *spans)
{
    Letters letters = {kinds, classes, composites, pairs};
    Spans replaced = {starts, ends, span_replacements, character_counts, 0};
    Line line = {0, 0, 0, 0};
    int64_t found = 0, row = 0, size = rows ? offsets[rows] : 0; /* without rows, no byte is read */
    for (int64_t base = 0; base < size; base += 64) {
        uint8_t rest[65];
        const uint8_t *part = data + base;
        if (size - base < 65) {
            memset(rest, ' ', sizeof rest);
            memcpy(rest, part, (size_t)(size - base));
            part = rest;
        }
        for (uint64_t bits = find_candidates(part); bits; bits &= bits - 1) {
            int64_t position = base + lowest(bits);
            uint32_t point = point_at(data + position, data + size);
            if (!(kinds[point] & (REPLACED | NOT_NFC | MARK | ZERO_WIDTH)))
                continue;
            while (offsets[row + 1] <= position)
                row++;
            if (!is_irregular(&letters, point, data + position, data + offsets[row], data + offsets[row + 1]) ||
                found++ >= capacity)
                continue;
            if (position >= line.end)
                line = line_of(data, position, offsets[row], offsets[row + 1], replaced.count);
            points[found - 1] = point;
            add_character(&replaced, &line, data, position, point, replacements[point]);
            character_counts[replaced.count - 1] = found;
        }
    }
    *spans = replaced.count;
    return found;
}
