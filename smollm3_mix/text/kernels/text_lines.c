/* Find lines and paragraphs, and count those that repeat an earlier one of their document. */
#include "characters.h"
#include "hashes.h"

enum {
    BULLETS,
    ELLIPSES,
    DUPLICATE_LINES,
    DUPLICATE_LINE_CHARS,
    PARAGRAPHS,
    DUPLICATE_PARAGRAPHS,
    DUPLICATE_PARAGRAPH_CHARS,
    COUNTS
};

/* Lines and paragraphs of one document. The nth paragraph is lines[nth] to lines[nth + 1]. */
typedef struct {
    int64_t *slots;
    uint64_t *keys, *paragraph_keys;
    int64_t *lines;
} Buffers;

typedef struct {
    const uint8_t *data;
    const int64_t *starts, *ends;
    const uint64_t *hashes;
    int64_t begin, end; /* bytes of the row */
} Text;

/* Count the line feeds of from:end, which is usually a single space. */
static inline int64_t count_newlines(const uint8_t *from, const uint8_t *end)
{
    if (end - from == 1)
        return *from == '\n';
    int64_t found = 0;
    for (; from < end; from++)
        found += *from == '\n';
    return found;
}

static int is_character(const uint8_t *at, uint8_t first, uint8_t second, uint8_t third)
{
    return at[0] == first && at[1] == second && at[2] == third;
}

/* Count the code points of the line with words from `start` to `end`, including the white space around them. */
static int64_t line_code_points(const Text *text, int64_t start, int64_t end)
{
    while (start > text->begin && text->data[start - 1] != '\n')
        start--;
    while (end < text->end && text->data[end] != '\n')
        end++;
    return code_points(text->data + start, text->data + end);
}

/* Split the words first to last into lines: begin[nth] is the first word of a line, buffers->keys[nth] its hash. Return
 * the number of lines. */
static int64_t split_lines(const Text *text, int64_t first, int64_t last, int64_t *begin, const Buffers *buffers,
                           int64_t *counts)
{
    int64_t lines = 0, paragraphs = 0, newlines = 2;
    for (int64_t word = first; word < last; lines++) {
        uint64_t key = 0, offset = GOLDEN;
        int64_t start = text->starts[word];
        begin[lines] = word;
        if (newlines > 1) {
            buffers->lines[paragraphs] = lines;
            buffers->paragraph_keys[paragraphs++] = 0;
        }
        for (newlines = 0; word < last && !newlines; offset += GOLDEN) {
            int64_t end = text->ends[word];
            key += ordered_hash(text->hashes[word++], offset);
            newlines = word < last ? count_newlines(text->data + end, text->data + text->starts[word]) : 1;
        }
        int64_t end = text->ends[word - 1], length = end - start;
        const uint8_t *at = text->data + start, *suffix = text->data + (length > 2 ? end - 3 : start);
        buffers->keys[lines] = key;
        buffers->paragraph_keys[paragraphs - 1] +=
            ordered_hash(key, (uint64_t)(lines + 1 - buffers->lines[paragraphs - 1]) * GOLDEN);
        counts[BULLETS] += (length > 0 && *at == '-') || (length > 2 && is_character(at, 0xE2, 0x80, 0xA2));
        counts[ELLIPSES] +=
            length > 2 && (is_character(suffix, '.', '.', '.') || is_character(suffix, 0xE2, 0x80, 0xA6));
    }
    buffers->lines[paragraphs] = lines;
    counts[PARAGRAPHS] = paragraphs;
    return lines;
}

/* Return 1 if a key equals an earlier one. Must be called for each nth in order. Slots contain numbers of keys, -1 if
 * free. */
static int is_duplicate(int64_t *slots, int bits, const uint64_t *keys, int64_t nth)
{
    uint64_t mask = ((uint64_t)1 << bits) - 1, at = ((keys[nth] ^ keys[nth] >> 32) * FIRST) >> (64 - bits);
    while (slots[at] >= 0 && keys[slots[at]] != keys[nth])
        at = (at + 1) & mask;
    if (slots[at] >= 0)
        return 1;
    slots[at] = nth;
    return 0;
}

static int clear_slots(int64_t *slots, int64_t keys)
{
    int bits = bits_for(2 * keys);
    memset(slots, 0xFF, ((size_t)1 << bits) * sizeof(int64_t));
    return bits;
}

/* Count the lines and paragraphs that equal an earlier one. begin[lines] is the word after the last line. */
static void count_duplicates(const Text *text, const int64_t *begin, int64_t lines, const Buffers *buffers,
                             int64_t *counts)
{
    const int64_t *starts = text->starts, *ends = text->ends;
    int bits = clear_slots(buffers->slots, lines);
    for (int64_t line = 0; line < lines; line++)
        if (is_duplicate(buffers->slots, bits, buffers->keys, line)) {
            counts[DUPLICATE_LINES]++;
            counts[DUPLICATE_LINE_CHARS] += line_code_points(text, starts[begin[line]], ends[begin[line + 1] - 1]);
        }
    bits = clear_slots(buffers->slots, counts[PARAGRAPHS]);
    for (int64_t nth = 0; nth < counts[PARAGRAPHS]; nth++)
        if (is_duplicate(buffers->slots, bits, buffers->paragraph_keys, nth)) {
            int64_t from = starts[begin[buffers->lines[nth]]], to = ends[begin[buffers->lines[nth + 1]] - 1];
            counts[DUPLICATE_PARAGRAPHS]++;
            counts[DUPLICATE_PARAGRAPH_CHARS] += code_points(text->data + from, text->data + to);
        }
}

int64_t sm_find_lines(const uint8_t *data, const int64_t *offsets, const int64_t *starts, const int64_t *ends,
                      const int64_t *first, const uint64_t *hashes, int64_t rows, int64_t *begin, int64_t *first_line,
                      int64_t *counts)
{
    int64_t most = 8, lines = 0;
    for (int64_t row = 0; row < rows; row++)
        if (first[row + 1] - first[row] > most)
            most = first[row + 1] - first[row];
    Buffers buffers = {.slots = malloc(((size_t)1 << bits_for(2 * most)) * sizeof(int64_t)),
                       .keys = malloc((size_t)most * 2 * sizeof(uint64_t)),
                       .lines = malloc((size_t)(most + 1) * sizeof(int64_t))};
    int allocated = buffers.slots && buffers.keys && buffers.lines;
    buffers.paragraph_keys = buffers.keys + most;
    for (int64_t row = 0; row < rows && allocated; row++) {
        Text text = {data, starts, ends, hashes, offsets[row], offsets[row + 1]};
        int64_t found[COUNTS] = {0};
        first_line[row] = lines;
        int64_t row_lines = split_lines(&text, first[row], first[row + 1], begin + lines, &buffers, found);
        begin[lines + row_lines] = first[row + 1];
        if (row_lines > 1)
            count_duplicates(&text, begin + lines, row_lines, &buffers, found);
        lines += row_lines;
        for (int kind = 0; kind < COUNTS; kind++)
            counts[kind * rows + row] = found[kind];
    }
    first_line[rows] = lines;
    begin[lines] = first[rows];
    free(buffers.slots);
    free(buffers.keys);
    free(buffers.lines);
    return allocated ? lines : -1;
}
