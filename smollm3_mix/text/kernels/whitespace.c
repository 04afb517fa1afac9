/* Documents with spaces and line ends in order. */
#include "kernels.h"

#define LOOK 64 /* bytes looked at at a time */

static inline int white(uint8_t byte)
{
    return byte <= ' ';
}

/* Where two bytes of white space stand side by side, found in one pass over a block. */
typedef struct {
    const uint8_t *data;
    int64_t size, base;    /* base: of the bytes that are looked at */
    uint64_t pairs, feeds; /* which of them are white with the next; which are line feeds, where there are pairs */
} Pairs;

static void look(Pairs *found, int64_t base)
{
    uint8_t rest[LOOK + 1], flags[LOOK], any = 0;
    const uint8_t *part = found->data + base;
    if (found->size - base <= LOOK) {
        memset(rest, '.', sizeof rest);
        if (base < found->size)
            memcpy(rest, part, (size_t)(found->size - base));
        part = rest;
    }
    for (int k = 0; k < LOOK; k++) {
        flags[k] = (part[k] <= ' ') & (part[k + 1] <= ' ');
        any |= flags[k];
    }
    found->base = base;
    found->pairs = any ? bits_of(flags) : 0;
    if (!any)
        return;
    for (int k = 0; k < LOOK; k++)
        flags[k] = part[k] == '\n';
    found->feeds = bits_of(flags);
}

/* First byte of the first pair from `from` on, or `end` where there is none before it. */
static int64_t next_pair(Pairs *found, int64_t from, int64_t end)
{
    if (from >= found->base + LOOK)
        look(found, from);
    uint64_t pairs = found->pairs & UINT64_MAX << (from - found->base);
    while (!pairs) {
        if (found->base + LOOK >= end)
            return end;
        look(found, found->base + LOOK);
        pairs = found->pairs;
    }
    int64_t at = found->base + lowest(pairs);
    return at < end ? at : end;
}

/* Length of the run of white space from `at` on if it is in order by its line feeds alone: one or two, and nothing before
 * or between them. 0 where that has to be looked at byte by byte. */
static int64_t plain_run(const Pairs *found, int64_t at)
{
    int from = (int)(at - found->base);
    uint64_t ends = ~(found->pairs >> from);
    int pairs = ends ? lowest(ends) : 64;
    if (from + pairs >= 64)
        return 0;
    uint64_t feeds = found->feeds >> from & (((uint64_t)2 << pairs) - 1);
    return feeds == 1 || feeds == 3 ? pairs + 1 : 0;
}

/* What is known of the document at hand on the way to a place in it. */
typedef struct {
    const uint8_t *data;
    int64_t start, end;    /* of the document */
    int64_t line, read;    /* first byte of the line that `read` lies in */
    int64_t ticks, fences; /* fences of backticks before `ticks` */
} Document;

/* Whether a fence begins at the run of backticks from `tick` to `after`: a line of up to three spaces, three or more
 * backticks, and no backtick after (CommonMark 0.31, section 4.5). */
static int is_fence(const Document *document, int64_t tick, int64_t after)
{
    const uint8_t *data = document->data;
    int64_t line = tick;
    while (line > document->start && tick - line < 3 && data[line - 1] == ' ')
        line--;
    if (after - tick < 3 || (line > document->start && data[line - 1] != '\n'))
        return 0;
    const uint8_t *feed = memchr(data + after, '\n', (size_t)(document->end - after));
    return !memchr(data + after, '`', (size_t)((feed ? feed : data + document->end) - (data + after)));
}

/* Whether a place is in quoted code: in a line that begins with four spaces, a tab, a mark of a Python session, or
 * between fences; a fence that closes another is not told from one that opens. */
static int in_quoted_code(Document *document, int64_t place)
{
    const uint8_t *data = document->data;
    for (int64_t at = place; at > document->read; at--)
        if (data[at - 1] == '\n') {
            document->line = at;
            break;
        }
    document->read = place;
    const uint8_t *line = data + document->line;
    if (line[0] == '\t' || (document->end - document->line >= 4 && !memcmp(line, "    ", 4)))
        return 1;
    if (document->end - document->line >= 3 && (!memcmp(line, ">>>", 3) || !memcmp(line, "...", 3)))
        return 1;
    while (document->ticks < place) {
        const uint8_t *tick = memchr(data + document->ticks, '`', (size_t)(place - document->ticks));
        int64_t begin = tick ? tick - data : place, after = begin;
        while (after < place && data[after] == '`')
            after++;
        document->fences += tick && is_fence(document, begin, after);
        document->ticks = after;
    }
    return document->fences & 1;
}

/* What becomes of the rows, and how much of them is there already: all before `kept`. */
typedef struct {
    const uint8_t *data;
    uint8_t *out;
    int64_t kept, to;
} Written;

/* Leaves out the bytes from `from` to `until`. */
static void leave_out(Written *written, int64_t from, int64_t until)
{
    memcpy(written->out + written->to, written->data + written->kept, (size_t)(from - written->kept));
    written->to += from - written->kept;
    written->kept = until;
}

/* A run of white space from `start` on in order: no spaces at line ends, one blank line; a run inside a line is one space,
 * one tab where it has one, if `collapse` says so and it is not in quoted code. Returns its end; no document ends
 * with one. */
static int64_t even(Written *written, Document *document, int64_t start, int collapse)
{
    const uint8_t *data = written->data;
    int64_t lines = 0, text = start, end = start; /* text: first byte behind the last line feed */
    int tabs = 0;
    for (; white(data[end]); end++) {
        if (data[end] == '\n') {
            lines++;
            text = end + 1;
        }
        tabs |= data[end] == '\t';
    }
    if (!lines) {
        if (collapse && !in_quoted_code(document, start)) {
            leave_out(written, start, end);
            written->out[written->to++] = tabs ? '\t' : ' ';
        }
    } else if (text - start != (lines > 2 ? 2 : lines)) {
        leave_out(written, start, text);
        written->out[written->to++] = '\n';
        if (lines > 1)
            written->out[written->to++] = '\n';
    }
    return end;
}

/* Start and end of a document without white space at both ends; of code, without blank lines: the first line keeps its
 * indentation, the last its line feed and what stands before it. */
static void trim(const uint8_t *data, int code, int64_t *start, int64_t *end)
{
    int64_t first = *start, last = *end;
    while (last > first && white(data[last - 1]))
        last--;
    while (first < last && white(data[first]))
        first++;
    if (code && first < last) {
        while (first > *start && data[first - 1] != '\n')
            first--;
        while (last < *end && data[last] != '\n')
            last++;
        last += last < *end;
    }
    *start = first;
    *end = last;
}

int64_t sm_normalize_whitespace(const uint8_t *data, const int64_t *offsets, int64_t rows, int64_t code,
                             int64_t collapse, uint8_t *out, int64_t *moved)
{
    Pairs found = {data, offsets[rows], -LOOK, 0, 0};
    Written written = {data, out, 0, 0};
    for (int64_t row = 0; row < rows; row++) {
        int64_t start = offsets[row], end = offsets[row + 1];
        trim(data, (int)code, &start, &end);
        if (start > offsets[row])
            leave_out(&written, offsets[row], start);
        moved[row] = written.to + start - written.kept;
        Document document = {data, start, end, start, start, start, 0};
        for (int64_t at = start; !code && (at = next_pair(&found, at, end)) < end;) {
            int64_t plain = plain_run(&found, at);
            at = plain ? at + plain : even(&written, &document, at, (int)collapse);
        }
        if (end < offsets[row + 1])
            leave_out(&written, end, offsets[row + 1]);
    }
    if (!written.kept)
        return -1;
    leave_out(&written, offsets[rows], offsets[rows]);
    moved[rows] = written.to;
    return written.to;
}
