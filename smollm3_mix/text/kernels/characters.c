/* How many characters of some kinds there are in each document. */
#include "characters.h"

enum { POINTS, FEEDS, HASHES, ELLIPSES, LIKELY, KINDS };

#define PART 128 /* bytes looked at at once: what is counted of them fits into a byte */

/* Counts of PART bytes, of which two more can be read; the loops have one type and no branch, so that compilers make
 * them of vectors. */
static void count(const uint8_t *part, uint8_t *dots, uint8_t *found)
{
    uint8_t points = 0, feeds = 0, hashes = 0, three = 0, wide = 0;
    for (int at = 0; at < PART; at++) {
        uint8_t byte = part[at];
        points += (int8_t)byte >= -64;
        feeds += byte == '\n';
        hashes += byte == '#';
        three |= (byte == '.') & (part[at + 1] == '.') & (part[at + 2] == '.');
        wide |= byte >= 0xE0;
    }
    found[POINTS] = points, found[FEEDS] = feeds, found[HASHES] = hashes;
    found[ELLIPSES] = found[LIKELY] = 0;
    *dots |= three;
    if (!wide)
        return;
    uint8_t ellipses = 0, likely = 0;
    for (int at = 0; at < PART; at++) {
        uint8_t byte = part[at];
        ellipses += (byte == 0xE2) & (part[at + 1] == 0x80) & (part[at + 2] == 0xA6);
        likely += ((uint8_t)(byte - 0xE0) < 10) & (byte != 0xE2);
    }
    found[ELLIPSES] = ellipses, found[LIKELY] = likely;
}

/* Three full stops each, of runs of them. */
static int64_t threes(const uint8_t *at, const uint8_t *end)
{
    int64_t found = 0;
    while ((at = memchr(at, '.', (size_t)(end - at)))) {
        const uint8_t *begin = at;
        while (at < end && *at == '.')
            at++;
        found += (at - begin) / 3;
    }
    return found;
}

int64_t sm_count_characters(const uint8_t *data, const int64_t *offsets, int64_t rows, int64_t *counts)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t sums[KINDS] = {0}, end = offsets[row + 1];
        uint8_t dots = 0;
        for (int64_t at = offsets[row]; at < end; at += PART) {
            uint8_t rest[PART + 2], found[KINDS];
            const uint8_t *part = data + at;
            if (end - at < PART + 2) {
                memset(rest, 0, sizeof rest);
                memcpy(rest, part, (size_t)(end - at));
                part = rest;
            }
            count(part, &dots, found);
            if (end - at < PART)
                found[POINTS] -= (uint8_t)(PART - (end - at)); /* zeros behind the end */
            for (int kind = 0; kind < KINDS; kind++)
                sums[kind] += found[kind];
        }
        if (dots)
            sums[ELLIPSES] += threes(data + offsets[row], data + end);
        for (int kind = 0; kind < KINDS; kind++)
            counts[kind * rows + row] = sums[kind];
    }
    return 0;
}

int64_t sm_count_code_points(const uint8_t *data, const int64_t *starts, const int64_t *ends, int64_t spans,
                       int64_t *points)
{
    for (int64_t span = 0; span < spans; span++)
        points[span] = code_points(data + starts[span], data + ends[span]);
    return 0;
}

int64_t sm_count_marked(const uint8_t *data, const int64_t *offsets, int64_t rows, const Flag *table, int64_t codes,
                  int64_t *marked)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t found = 0;
        for (const uint8_t *at = data + offsets[row], *end = data + offsets[row + 1]; at < end;)
            found += table[next_code(&at, end, codes)];
        marked[row] = found;
    }
    return 0;
}
