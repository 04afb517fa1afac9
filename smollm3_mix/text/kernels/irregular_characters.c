/* Which characters of a block cleaning has to look at. */
#include "kernels.h"

/* Bits of a code point's kind, see `Alphabet.kinds`. */
enum { ODD = 1, NOT_NFC = 2, MARK = 4, COMPOSING = 8, DECOMPOSES = 16, JOINT = 32, UNSPACED = 64, JOINING = 128 };

#define POINTS 0x110000
#define SPACE_MARK 0x200B /* the zero-width space */
#define JOINER 0x200D
#define NONE ' ' /* in place of a character where there is none: nothing joins, marks or composes with it */

/* Sixteen bytes compared at once, with their signs, as every processor can: C2 is -62. GCC and Clang split them where
 * the machine's registers are shorter; of a loop over single bytes they make a chain of branches. */
/* First bytes of the characters that need no look, as signed: C3 to CB, CF to D1, E4 to E9, EB to EE. */
enum { LATIN = 0xC3 - 0x100, CYRILLIC = 0xCF - 0x100, IDEOGRAPHS = 0xE4 - 0x100, HANGUL = 0xEB - 0x100 };

/* First and second bytes, as signed: U+0387 after CE; after E3, 80 and 82 before characters with a kind, 81 before none. */
enum { GREEK = 0xCE - 0x100, ANO_TELEIA = 0x87 - 0x100 };
enum { KANA = 0xE3 - 0x100, HIRAGANA = 0x81 - 0x100, VOICED = 0x82 - 0x100 };

typedef int8_t Sixteen __attribute__((vector_size(16)));

typedef struct {
    const uint8_t *kinds, *classes;
    const int64_t *composites;
    int64_t pairs;
} Letters;

/* Bit k: whether at byte k of 64 begins a character that may have a kind other than DECOMPOSES, or an ASCII control but
 * tab and line feed stands there. Between these first bytes there are none: Latin beyond its first page, Cyrillic, CJK
 * ideographs and Hangul syllables are assigned in full, and Unicode does not change how an assigned character composes.
 * Of the first half of Greek only one character has a kind, and none of most kana. Reads 65 bytes. */
static inline uint64_t looked_at(const uint8_t *part)
{
    union {
        Sixteen four[4];
        uint8_t bytes[64];
    } flags, seen, next;
    memcpy(seen.bytes, part, 64);
    for (int nth = 0; nth < 4; nth++) {
        Sixteen bytes = seen.four[nth];
        flags.four[nth] = ((bytes < 0x20) & (bytes != 0x09) & (bytes != 0x0A)) | (bytes == 0x7F);
    }
    Sixteen any = flags.four[0] | flags.four[1] | flags.four[2] | flags.four[3];
    uint64_t halves[2];
    memcpy(halves, &any, 16);
    if (!(halves[0] | halves[1])) /* ASCII that shows, tabs and line feeds */
        return 0;
    memcpy(next.bytes, part + 1, 64);
    for (int nth = 0; nth < 4; nth++) {
        Sixteen bytes = seen.four[nth], second = next.four[nth];
        Sixteen plain = ((bytes == GREEK) & (second != ANO_TELEIA)) |
                        ((bytes == KANA) & ((second == HIRAGANA) | (second > VOICED)));
        flags.four[nth] &= ~plain & (bytes > LATIN - 2) & ((bytes < LATIN) | (bytes > LATIN + 8)) &
                           ((bytes < CYRILLIC) | (bytes > CYRILLIC + 2)) &
                           ((bytes < IDEOGRAPHS) | (bytes > IDEOGRAPHS + 5)) & ((bytes < HANGUL) | (bytes > HANGUL + 3));
        flags.four[nth] &= 1;
    }
    return bits_of(flags.bytes);
}

/* Code point of the character at `at`, NONE where it does not end before `end`. */
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

/* Code point of the character before `at`, NONE where the document starts there. */
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

/* Whether a mark may keep its document out of NFC. It cannot after a letter that it does not compose with and that has
 * no decomposition, nor, unless it composes with anything, after a mark of no higher class (UAX #15, section 9). */
static int misplaced_mark(const Letters *letters, uint32_t before, uint32_t point)
{
    uint8_t last = letters->classes[before], this = letters->classes[point];
    int composing = letters->kinds[point] & COMPOSING;
    if (letters->kinds[before] & DECOMPOSES || (this && (last > this || (last && composing))))
        return 1;
    return composing && composes(letters, before, point);
}

/* Whether a zero-width space, joiner or non-joiner stands where it does nothing. */
static int idle_joint(const Letters *letters, uint32_t before, uint32_t point, uint32_t after)
{
    uint8_t acts = point == SPACE_MARK ? UNSPACED : JOINING;
    return !(letters->kinds[before] & acts) || (point != JOINER && !(letters->kinds[after] & acts));
}

/* Whether a character that has a kind may not be plain where it stands, between `start` and `end` of its document. */
static int odd(const Letters *letters, uint32_t point, const uint8_t *at, const uint8_t *start, const uint8_t *end)
{
    uint8_t kind = letters->kinds[point];
    if (kind & (ODD | NOT_NFC))
        return 1;
    uint32_t before = point_before(at, start);
    if (kind & MARK && misplaced_mark(letters, before, point))
        return 1;
    return kind & JOINT && idle_joint(letters, before, point, end - at > 3 ? point_at(at + 3, end) : NONE);
}

/* What is to be replaced, in order. */
typedef struct {
    int64_t *starts, *ends; /* its bytes */
    uint8_t *becomes;       /* the byte that takes the place of a character; 0 for a line */
    int64_t *lasts;         /* how many odd characters there are up to its end */
    int64_t count;
} Spans;

static void add(Spans *spans, int64_t start, int64_t end, uint8_t becomes)
{
    spans->starts[spans->count] = start;
    spans->ends[spans->count] = end;
    spans->becomes[spans->count++] = becomes;
}

/* The line that the last odd character stands in. */
typedef struct {
    int64_t start, end; /* its bytes, with its line feed */
    int64_t first;      /* number of its first span */
    int whole;          /* whether that is the whole line */
} Line;

static Line line_of(const uint8_t *data, int64_t place, int64_t start, int64_t end, int64_t spans)
{
    int64_t first = place;
    while (first > start && data[first - 1] != '\n')
        first--;
    const uint8_t *feed = memchr(data + place, '\n', (size_t)(end - place));
    return (Line){first, feed ? feed + 1 - data : end, spans, 0};
}

/* An odd character: it becomes a byte, of CR LF both, or its line is to be looked at as a whole. */
static void put(Spans *spans, Line *line, const uint8_t *data, int64_t place, uint32_t point, uint8_t becomes)
{
    if (line->whole)
        return;
    if (!becomes) {
        spans->count = line->first;
        line->whole = 1;
        add(spans, line->start, line->end, 0);
        return;
    }
    int64_t after = place + 1 + (point >= 0x80) + (point >= 0x800) + (point >= 0x10000);
    after += point == '\r' && after < line->end && data[after] == '\n';
    add(spans, place, after, becomes);
}

int64_t sm_irregular_characters(const uint8_t *data, const int64_t *offsets, int64_t rows, const uint8_t *kinds,
                          const uint8_t *becomes, const uint8_t *classes, const int64_t *composites,
                          int64_t pairs, int64_t room, int64_t *points, int64_t *starts, int64_t *ends,
                          uint8_t *fresh, int64_t *lasts, int64_t *spans)
{
    Letters letters = {kinds, classes, composites, pairs};
    Spans put_down = {starts, ends, fresh, lasts, 0};
    Line line = {0, 0, 0, 0};
    int64_t found = 0, row = 0, size = rows ? offsets[rows] : 0; /* without rows, no byte is looked at */
    for (int64_t base = 0; base < size; base += 64) {
        uint8_t rest[65];
        const uint8_t *part = data + base;
        if (size - base < 65) {
            memset(rest, ' ', sizeof rest);
            memcpy(rest, part, (size_t)(size - base));
            part = rest;
        }
        for (uint64_t bits = looked_at(part); bits; bits &= bits - 1) {
            int64_t place = base + lowest(bits);
            uint32_t point = point_at(data + place, data + size);
            if (!(kinds[point] & (ODD | NOT_NFC | MARK | JOINT)))
                continue;
            while (offsets[row + 1] <= place)
                row++;
            if (!odd(&letters, point, data + place, data + offsets[row], data + offsets[row + 1]) || found++ >= room)
                continue;
            if (place >= line.end)
                line = line_of(data, place, offsets[row], offsets[row + 1], put_down.count);
            points[found - 1] = point;
            put(&put_down, &line, data, place, point, becomes[point]);
            lasts[put_down.count - 1] = found;
        }
    }
    *spans = put_down.count;
    return found;
}
