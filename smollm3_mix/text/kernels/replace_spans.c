/* Documents with parts of them replaced. */
#include "kernels.h"

int64_t sm_replace_spans(const uint8_t *data, const int64_t *offsets, int64_t rows, const int64_t *starts,
                      const int64_t *ends, int64_t spans, const uint8_t *fresh, const int64_t *first,
                      const int64_t *last, uint8_t *out, int64_t room, int64_t *moved)
{
    int64_t kept = 0, to = 0, span = 0; /* all before `kept` is in `out` */
    for (int64_t row = 0; row < rows; row++) {
        moved[row] = to + offsets[row] - kept;
        for (; span < spans && starts[span] < offsets[row + 1]; span++) {
            int64_t before = starts[span] - kept, new = last[span] - first[span];
            if (before < 0 || before + new > room - to)
                return REFUSED;
            memcpy(out + to, data + kept, (size_t)before);
            memcpy(out + to + before, fresh + first[span], (size_t)new);
            to += before + new;
            kept = ends[span];
        }
    }
    int64_t rest = offsets[rows] - kept;
    if (rest < 0 || rest > room - to)
        return REFUSED;
    memcpy(out + to, data + kept, (size_t)rest);
    moved[rows] = to + rest;
    return moved[rows];
}
