/* Lines and paragraphs of documents, and which of them stand in their document before. */
#include "characters.h"
#include "hashes.h"

enum { BULLETS, ELLIPSES, LINES_AGAIN, LINE_CHARS, PARAGRAPHS, PARAGRAPHS_AGAIN, PARAGRAPH_CHARS, COUNTS };

/* What is kept of one document's lines and paragraphs: nth line is words[nth] to words[nth + 1], nth paragraph is
 * lines[nth] to lines[nth + 1]. */
typedef struct {
    int64_t *slots;
    uint64_t *keys, *folds;
    int64_t *lines;
} Room;

typedef struct {
    const uint8_t *data;
    const int64_t *starts, *ends;
    const uint64_t *hashes;
    int64_t begin, end; /* bytes of the row */
} Text;

/* Line feeds in from:end, mostly a single space. */
static inline int64_t feeds(const uint8_t *from, const uint8_t *end)
{
    if (end - from == 1)
        return *from == '\n';
    int64_t found = 0;
    for (; from < end; from++)
        found += *from == '\n';
    return found;
}

static int spells(const uint8_t *at, uint8_t first, uint8_t second, uint8_t third)
{
    return at[0] == first && at[1] == second && at[2] == third;
}

/* Code points of the line of a word at `start` and one that ends at `end`, with the white space around them. */
static int64_t whole(const Text *text, int64_t start, int64_t end)
{
    while (start > text->begin && text->data[start - 1] != '\n')
        start--;
    while (end < text->end && text->data[end] != '\n')
        end++;
    return code_points(text->data + start, text->data + end);
}

/* The lines of words first to last: begin[nth] is their first word, room->keys[nth] their hash. Returns how many. */
static int64_t part(const Text *text, int64_t first, int64_t last, int64_t *begin, const Room *room, int64_t *counts)
{
    int64_t lines = 0, paragraphs = 0, fed = 2;
    for (int64_t word = first; word < last; lines++) {
        uint64_t key = 0, turn = GOLDEN;
        int64_t start = text->starts[word];
        begin[lines] = word;
        if (fed > 1) {
            room->lines[paragraphs] = lines;
            room->folds[paragraphs++] = 0;
        }
        for (fed = 0; word < last && !fed; turn += GOLDEN) {
            int64_t end = text->ends[word];
            key += folded(text->hashes[word++], turn);
            fed = word < last ? feeds(text->data + end, text->data + text->starts[word]) : 1;
        }
        int64_t end = text->ends[word - 1], length = end - start;
        const uint8_t *at = text->data + start, *back = text->data + (length > 2 ? end - 3 : start);
        room->keys[lines] = key;
        room->folds[paragraphs - 1] += folded(key, (uint64_t)(lines + 1 - room->lines[paragraphs - 1]) * GOLDEN);
        counts[BULLETS] += (length > 0 && *at == '-') || (length > 2 && spells(at, 0xE2, 0x80, 0xA2));
        counts[ELLIPSES] += length > 2 && (spells(back, '.', '.', '.') || spells(back, 0xE2, 0x80, 0xA6));
    }
    room->lines[paragraphs] = lines;
    counts[PARAGRAPHS] = paragraphs;
    return lines;
}

/* Whether an equal key stands before, for each nth in turn. The slots hold the number of a key, -1 where free. */
static int again(int64_t *slots, int bits, const uint64_t *keys, int64_t nth)
{
    uint64_t mask = ((uint64_t)1 << bits) - 1, at = ((keys[nth] ^ keys[nth] >> 32) * FIRST) >> (64 - bits);
    while (slots[at] >= 0 && keys[slots[at]] != keys[nth])
        at = (at + 1) & mask;
    if (slots[at] >= 0)
        return 1;
    slots[at] = nth;
    return 0;
}

static int cleared(int64_t *slots, int64_t keys)
{
    int bits = bits_for(2 * keys);
    memset(slots, 0xFF, ((size_t)1 << bits) * sizeof(int64_t));
    return bits;
}

/* Counts of the lines and paragraphs that an equal one stands before; begin[lines] is the word behind the last line. */
static void repeated(const Text *text, const int64_t *begin, int64_t lines, const Room *room, int64_t *counts)
{
    const int64_t *starts = text->starts, *ends = text->ends;
    int bits = cleared(room->slots, lines);
    for (int64_t line = 0; line < lines; line++)
        if (again(room->slots, bits, room->keys, line)) {
            counts[LINES_AGAIN]++;
            counts[LINE_CHARS] += whole(text, starts[begin[line]], ends[begin[line + 1] - 1]);
        }
    bits = cleared(room->slots, counts[PARAGRAPHS]);
    for (int64_t nth = 0; nth < counts[PARAGRAPHS]; nth++)
        if (again(room->slots, bits, room->folds, nth)) {
            int64_t from = starts[begin[room->lines[nth]]], to = ends[begin[room->lines[nth + 1]] - 1];
            counts[PARAGRAPHS_AGAIN]++;
            counts[PARAGRAPH_CHARS] += code_points(text->data + from, text->data + to);
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
    Room room = {.slots = malloc(((size_t)1 << bits_for(2 * most)) * sizeof(int64_t)),
                 .keys = malloc((size_t)most * 2 * sizeof(uint64_t)),
                 .lines = malloc((size_t)(most + 1) * sizeof(int64_t))};
    int whole_room = room.slots && room.keys && room.lines;
    room.folds = room.keys + most;
    for (int64_t row = 0; row < rows && whole_room; row++) {
        Text text = {data, starts, ends, hashes, offsets[row], offsets[row + 1]};
        int64_t found[COUNTS] = {0};
        first_line[row] = lines;
        int64_t mine = part(&text, first[row], first[row + 1], begin + lines, &room, found);
        begin[lines + mine] = first[row + 1];
        if (mine > 1)
            repeated(&text, begin + lines, mine, &room, found);
        lines += mine;
        for (int kind = 0; kind < COUNTS; kind++)
            counts[kind * rows + row] = found[kind];
    }
    first_line[rows] = lines;
    begin[lines] = first[rows];
    free(room.slots);
    free(room.keys);
    free(room.lines);
    return whole_room ? lines : -1;
}
