/* Copy documents with spans of bytes replaced. */
#include "kernels.h"

int64_t sm_replace_spans(const uint8_t *data, const int64_t *offsets, int64_t rows, const int64_t *starts,
                         const int64_t *ends, int64_t spans, const uint8_t *new_bytes, const int64_t *first,
                         const int64_t *last, uint8_t *out, int64_t out_size, int64_t *new_offsets)
{
    int64_t copied = 0, to = 0, span = 0; /* bytes before `copied` are in `out` already */
    for (int64_t row = 0; row < rows; row++) {
        new_offsets[row] = to + offsets[row] - copied;
        for (; span < spans && starts[span] < offsets[row + 1]; span++) {
            int64_t before = starts[span] - copied, new = last[span] - first[span];
            if (before < 0 || before + new > out_size - to)
                return REFUSED;
            memcpy(out + to, data + copied, (size_t)before);
            memcpy(out + to + before, new_bytes + first[span], (size_t)new);
            to += before + new;
            copied = ends[span];
        }
    }
    int64_t rest = offsets[rows] - copied;
    if (rest < 0 || rest > out_size - to)
        return REFUSED;
    memcpy(out + to, data + copied, (size_t)rest);
    new_offsets[rows] = to + rest;
    return new_offsets[rows];
}
