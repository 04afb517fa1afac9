/* Count characters of several kinds in each document. */
#include "characters.h"

enum { POINTS, NEWLINES, HASHES, ELLIPSES, MAYBE_UNSPACED, KINDS };

#define CHUNK 128 /* bytes per step, so that every count of a step fits into a byte */

/* Count the characters of CHUNK bytes. Reads two more bytes. The loops have one type and no branch, so that compilers
 * vectorize them. */
static void count(const uint8_t *chunk, uint8_t *dots, uint8_t *found)
{
    uint8_t points = 0, newlines = 0, hashes = 0, dotted = 0, wide = 0;
    for (int at = 0; at < CHUNK; at++) {
        uint8_t byte = chunk[at];
        points += (int8_t)byte >= -64;
        newlines += byte == '\n';
        hashes += byte == '#';
        dotted |= (byte == '.') & (chunk[at + 1] == '.') & (chunk[at + 2] == '.');
        wide |= byte >= 0xE0;
    }
    found[POINTS] = points, found[NEWLINES] = newlines, found[HASHES] = hashes;
    found[ELLIPSES] = found[MAYBE_UNSPACED] = 0;
    *dots |= dotted;
    if (!wide)
        return;
    uint8_t ellipses = 0, maybe_unspaced = 0;
    for (int at = 0; at < CHUNK; at++) {
        uint8_t byte = chunk[at];
        ellipses += (byte == 0xE2) & (chunk[at + 1] == 0x80) & (chunk[at + 2] == 0xA6);
        maybe_unspaced += ((uint8_t)(byte - 0xE0) < 10) & (byte != 0xE2);
    }
    found[ELLIPSES] = ellipses, found[MAYBE_UNSPACED] = maybe_unspaced;
}

/* Count the groups of three full stops in runs of full stops. */
static int64_t count_dot_ellipses(const uint8_t *at, const uint8_t *end)
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
        for (int64_t at = offsets[row]; at < end; at += CHUNK) {
            uint8_t rest[CHUNK + 2], found[KINDS];
            const uint8_t *chunk = data + at;
            if (end - at < CHUNK + 2) {
                memset(rest, 0, sizeof rest);
                memcpy(rest, chunk, (size_t)(end - at));
                chunk = rest;
            }
            count(chunk, &dots, found);
            if (end - at < CHUNK)
                found[POINTS] -= (uint8_t)(CHUNK - (end - at)); /* the padding of zeros */
            for (int kind = 0; kind < KINDS; kind++)
                sums[kind] += found[kind];
        }
        if (dots)
            sums[ELLIPSES] += count_dot_ellipses(data + offsets[row], data + end);
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
