/* Normalize spaces and line ends of documents. */
#include "kernels.h"

#define CHUNK 64 /* bytes per step */

static inline int is_whitespace(uint8_t byte)
{
    return byte <= ' ';
}

/* Scanner for two adjacent bytes of white space, in one pass over a block. */
typedef struct {
    const uint8_t *data;
    int64_t size, base;       /* base: first byte of the step */
    uint64_t pairs, newlines; /* bytes that are white space like the next byte; line feeds, if there are pairs */
} PairScanner;

static void scan(PairScanner *scanner, int64_t base)
{
    uint8_t rest[CHUNK + 1], flags[CHUNK], any = 0;
    const uint8_t *chunk = scanner->data + base;
    if (scanner->size - base <= CHUNK) {
        memset(rest, '.', sizeof rest);
        if (base < scanner->size)
            memcpy(rest, chunk, (size_t)(scanner->size - base));
        chunk = rest;
    }
    for (int k = 0; k < CHUNK; k++) {
        flags[k] = (chunk[k] <= ' ') & (chunk[k + 1] <= ' ');
        any |= flags[k];
    }
    scanner->base = base;
    scanner->pairs = any ? bits_of(flags) : 0;
    if (!any)
        return;
    for (int k = 0; k < CHUNK; k++)
        flags[k] = chunk[k] == '\n';
    scanner->newlines = bits_of(flags);
}

/* Return the first byte of the first pair from `from` on, or `end` if there is none before it. */
static int64_t next_pair(PairScanner *scanner, int64_t from, int64_t end)
{
    if (from >= scanner->base + CHUNK)
        scan(scanner, from);
    uint64_t pairs = scanner->pairs & UINT64_MAX << (from - scanner->base);
    while (!pairs) {
        if (scanner->base + CHUNK >= end)
            return end;
        scan(scanner, scanner->base + CHUNK);
        pairs = scanner->pairs;
    }
    int64_t at = scanner->base + lowest(pairs);
    return at < end ? at : end;
}

/* Return the length of the run of white space from `at` on if it is already normal: one or two line feeds and nothing
 * before or between them. Return 0 if it must be checked byte by byte. */
static int64_t normal_run_length(const PairScanner *scanner, int64_t at)
{
    int from = (int)(at - scanner->base);
    uint64_t ends = ~(scanner->pairs >> from);
    int pairs = ends ? lowest(ends) : 64;
    if (from + pairs >= 64)
        return 0;
    uint64_t newlines = scanner->newlines >> from & (((uint64_t)2 << pairs) - 1);
    return newlines == 1 || newlines == 3 ? pairs + 1 : 0;
}

/* State of the scan of one document. */
typedef struct {
    const uint8_t *data;
    int64_t start, end;           /* of the document */
    int64_t line, read;           /* first byte of the line of `read` */
    int64_t fences_until, fences; /* number of fences before `fences_until` */
} Document;

/* Return 1 if the run of backticks from `backtick` to `after` is a fence: up to three spaces at the start of a line,
 * three or more backticks, and no backtick after them (CommonMark 0.31, section 4.5). */
static int is_fence(const Document *document, int64_t backtick, int64_t after)
{
    const uint8_t *data = document->data;
    int64_t line = backtick;
    while (line > document->start && backtick - line < 3 && data[line - 1] == ' ')
        line--;
    if (after - backtick < 3 || (line > document->start && data[line - 1] != '\n'))
        return 0;
    const uint8_t *feed = memchr(data + after, '\n', (size_t)(document->end - after));
    return !memchr(data + after, '`', (size_t)((feed ? feed : data + document->end) - (data + after)));
}

/* Return 1 if a position is in quoted code: in a line that begins with four spaces, a tab or a prompt of a Python
 * session, or between fences. Opening and closing fences are not distinguished. */
static int in_quoted_code(Document *document, int64_t position)
{
    const uint8_t *data = document->data;
    for (int64_t at = position; at > document->read; at--)
        if (data[at - 1] == '\n') {
            document->line = at;
            break;
        }
    document->read = position;
    const uint8_t *line = data + document->line;
    if (line[0] == '\t' || (document->end - document->line >= 4 && !memcmp(line, "    ", 4)))
        return 1;
    if (document->end - document->line >= 3 && (!memcmp(line, ">>>", 3) || !memcmp(line, "...", 3)))
        return 1;
    while (document->fences_until < position) {
        const uint8_t *backtick =
            memchr(data + document->fences_until, '`', (size_t)(position - document->fences_until));
        int64_t begin = backtick ? backtick - data : position, after = begin;
        while (after < position && data[after] == '`')
            after++;
        document->fences += backtick && is_fence(document, begin, after);
        document->fences_until = after;
    }
    return document->fences & 1;
}

/* Output of the rows. Bytes before `copied` are in it already. */
typedef struct {
    const uint8_t *data;
    uint8_t *out;
    int64_t copied, to;
} Output;

/* Copy the bytes up to `from`, and skip those from `from` to `until`. */
static void skip(Output *output, int64_t from, int64_t until)
{
    memcpy(output->out + output->to, output->data + output->copied, (size_t)(from - output->copied));
    output->to += from - output->copied;
    output->copied = until;
}

/* Normalize the run of white space from `start` on: no spaces at line ends, at most one blank line. A run inside a line
 * becomes one space, or one tab if it has one, if `collapse` is set and it is not in quoted code. Return the end of the
 * run. No document ends with one. */
static int64_t normalize_run(Output *output, Document *document, int64_t start, int collapse)
{
    const uint8_t *data = output->data;
    int64_t lines = 0, text = start, end = start; /* text: first byte after the last line feed */
    int tabs = 0;
    for (; is_whitespace(data[end]); end++) {
        if (data[end] == '\n') {
            lines++;
            text = end + 1;
        }
        tabs |= data[end] == '\t';
    }
    if (!lines) {
        if (collapse && !in_quoted_code(document, start)) {
            skip(output, start, end);
            output->out[output->to++] = tabs ? '\t' : ' ';
        }
    } else if (text - start != (lines > 2 ? 2 : lines)) {
        skip(output, start, text);
        output->out[output->to++] = '\n';
        if (lines > 1)
            output->out[output->to++] = '\n';
    }
    return end;
}

/* Move start and end past the white space at both ends of a document. In code, move them past blank lines only: the
 * first line keeps its indentation, the last line its trailing spaces and its line feed. */
static void trim(const uint8_t *data, int code, int64_t *start, int64_t *end)
{
    int64_t first = *start, last = *end;
    while (last > first && is_whitespace(data[last - 1]))
        last--;
    while (first < last && is_whitespace(data[first]))
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
                                int64_t collapse, uint8_t *out, int64_t *new_offsets)
{
    PairScanner scanner = {data, offsets[rows], -CHUNK, 0, 0};
    Output output = {data, out, 0, 0};
    for (int64_t row = 0; row < rows; row++) {
        int64_t start = offsets[row], end = offsets[row + 1];
        trim(data, (int)code, &start, &end);
        if (start > offsets[row])
            skip(&output, offsets[row], start);
        new_offsets[row] = output.to + start - output.copied;
        Document document = {data, start, end, start, start, start, 0};
        for (int64_t at = start; !code && (at = next_pair(&scanner, at, end)) < end;) {
            int64_t normal = normal_run_length(&scanner, at);
            at = normal ? at + normal : normalize_run(&output, &document, at, (int)collapse);
        }
        if (end < offsets[row + 1])
            skip(&output, end, offsets[row + 1]);
    }
    if (!output.copied)
        return -1;
    skip(&output, offsets[rows], offsets[rows]);
    new_offsets[rows] = output.to;
    return output.to;
}
