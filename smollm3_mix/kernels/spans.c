/* Documents with parts of them replaced. */
#include "kernels.h"

/* The rows with data[starts[i]:ends[i]] made fresh[from[i]:until[i]], each within a row, in order; moved: their offsets.
 * Returns how many bytes. */
KERNEL int64_t sm_with_spans(const uint8_t *data, const int64_t *offsets, int64_t rows, const int64_t *starts,
                             const int64_t *ends, int64_t spans, const uint8_t *fresh, const int64_t *from,
                             const int64_t *until, uint8_t *out, int64_t *moved)
{
    int64_t kept = 0, to = 0, span = 0; /* all before `kept` is in `out` */
    for (int64_t row = 0; row < rows; row++) {
        moved[row] = to + offsets[row] - kept;
        for (; span < spans && starts[span] < offsets[row + 1]; span++) {
            memcpy(out + to, data + kept, (size_t)(starts[span] - kept));
            to += starts[span] - kept;
            memcpy(out + to, fresh + from[span], (size_t)(until[span] - from[span]));
            to += until[span] - from[span];
            kept = ends[span];
        }
    }
    memcpy(out + to, data + kept, (size_t)(offsets[rows] - kept));
    moved[rows] = to + offsets[rows] - kept;
    return moved[rows];
}
