/* Which words hold a letter. */
#include "kernels.h"

/* found[i]: whether data[starts[i]:ends[i]], valid UTF-8, holds a code point that table[code point] marks; those behind
 * the table's end are its last. Returns how many do. */
KERNEL int64_t sm_have_letters(const uint8_t *data, const int64_t *starts, const int64_t *ends, int64_t words,
                               const uint8_t *table, int64_t size, uint8_t *found)
{
    int64_t some = 0;
    for (int64_t word = 0; word < words; word++) {
        uint8_t letter = 0;
        for (const uint8_t *at = data + starts[word], *end = data + ends[word]; at < end && !letter;) {
            int64_t code = at[0];
            if (code < 0x80) {
                at++;
            } else if (code < 0xE0) {
                code = (code & 0x1F) << 6 | (at[1] & 0x3F);
                at += 2;
            } else if (code < 0xF0) {
                code = (code & 0x0F) << 12 | (at[1] & 0x3F) << 6 | (at[2] & 0x3F);
                at += 3;
            } else {
                code = (code & 0x07) << 18 | (at[1] & 0x3F) << 12 | (at[2] & 0x3F) << 6 | (at[3] & 0x3F);
                at += 4;
            }
            letter = table[code < size ? code : size - 1];
        }
        found[word] = letter;
        some += letter;
    }
    return some;
}
