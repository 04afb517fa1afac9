/* Code points of valid UTF-8. */
#ifndef SMOLLM3_MIX_CHARACTERS_H
#define SMOLLM3_MIX_CHARACTERS_H

#include "kernels.h"

/* Count the code points of from:end: the bytes that are not continuation bytes. */
static inline int64_t code_points(const uint8_t *from, const uint8_t *end)
{
    int64_t found = 0;
    while (from < end) {
        int64_t step = end - from < 128 ? end - from : 128;
        uint8_t some = 0; /* a byte, so that compilers count 16 at once */
        for (int64_t at = 0; at < step; at++)
            some += (int8_t)from[at] >= -64;
        found += some;
        from += step;
    }
    return found;
}

/* Return the code point at *at, at most codes - 1, and move *at past it. A character cut off by `end` is codes - 1. */
static inline int64_t next_code(const uint8_t **at, const uint8_t *end, int64_t codes)
{
    const uint8_t *byte = *at;
    int64_t code = byte[0];
    if (code < 0x80) {
        *at += 1;
    } else if (end - byte < 2 + (code >= 0xE0) + (code >= 0xF0)) {
        *at = end;
        return codes - 1;
    } else if (code < 0xE0) {
        code = (code & 0x1F) << 6 | (byte[1] & 0x3F);
        *at += 2;
    } else if (code < 0xF0) {
        code = (code & 0x0F) << 12 | (byte[1] & 0x3F) << 6 | (byte[2] & 0x3F);
        *at += 3;
    } else {
        code = (code & 0x07) << 18 | (byte[1] & 0x3F) << 12 | (byte[2] & 0x3F) << 6 | (byte[3] & 0x3F);
        *at += 4;
    }
    return code < codes ? code : codes - 1;
}

#endif
