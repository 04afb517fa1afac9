/* Find the documents that may have mojibake. */
#include "kernels.h"

/* Return 1 if the character at `at`, whose first byte is C2 to E2, is typical of mojibake after the bytes before it. */
static int is_suspicious(const uint8_t *at, const uint8_t *start, const uint8_t *end)
{
    uint8_t first = at[0], second = at[1], after = end - at > 2 ? at[2] : 0;
    if (first > 0xD0 && first != 0xD2 && first != 0xE2)
        return 0;
    if ((first == 0xC3 && (second & 0xFE) == 0x82) || (first == 0xC2 && second < 0xA0))
        return 1;
    if (first == 0xC5 && (second & 0xFE) == 0x92 && (uint8_t)((after | 0x20) - 'a') >= 26)
        return 1;
    if (at == start || at[-1] < 0x80)
        return 0;
    uint8_t second_before = at - start > 1 ? at[-2] : 0, third_before = at - start > 2 ? at[-3] : 0;
    if (third_before >= 0xE3 && third_before <= 0xED)
        return 0;
    switch (first) {
    case 0xC3: /* two lower-case accented letters */
        return second < 0xA0 || second_before != 0xC3;
    case 0xCE:
    case 0xCF:
        return second_before != 0xCE && second_before != 0xCF;
    case 0xD0: /* Cyrillic, except the letters at 0x80 to 0x8F of Windows-1251 */
        return second < 0x90;
    case 0xD2: /* Ukrainian ge, at 0xA5 and 0xB4 of Windows-1251 */
        return (second & 0xFE) == 0x90;
    case 0xE2: /* joiners, as in Persian */
        return second != 0x80 || after < 0x8B || after > 0x8F;
    default:
        return 1;
    }
}

int64_t sm_maybe_mojibake(const uint8_t *data, const int64_t *offsets, int64_t rows, Flag *found)
{
    int64_t some = 0;
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *start = data + offsets[row], *end = data + offsets[row + 1], *at = start;
        uint8_t suspicious = 0;
        while (end - at > 1 && !suspicious) {
            if (end - at >= 8 && !(load64(at) & 0x8080808080808080u))
                at += 8;
            else {
                suspicious = at[0] >= 0xC2 && at[0] <= 0xE2 && is_suspicious(at, start, end);
                at++;
            }
        }
        found[row] = suspicious;
        some += suspicious;
    }
    return some;
}
