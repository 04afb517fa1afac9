/* Exported functions and what they share. They are plain C11 over whole blocks, call no library except malloc, keep no
 * state between calls, and return the same results on every machine. */
#ifndef SMOLLM3_MIX_KERNELS_H
#define SMOLLM3_MIX_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define KERNEL __declspec(dllexport)
#else
#define KERNEL __attribute__((visibility("default")))
#endif

#define GOLDEN 0x9E3779B97F4A7C15u /* 2^64 / golden ratio, odd: the increment of splitmix64 (Steele et al. 2014) */
#define FIRST 0xBF58476D1CE4E5B9u  /* multipliers of splitmix64 */
#define SECOND 0x94D049BB133111EBu
#define MIX_FACTOR 0xD6E8FEB86659FD93u /* odd, with well-mixed bits */

/* Load eight bytes as a little-endian number. */
static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Return 64 bits. Bit k is flags[k], which is 0 or 1. The product moves eight flags into the upper byte. */
static inline uint64_t bits_of(const uint8_t *flags)
{
    uint64_t bits = 0;
    for (int at = 0; at < 64; at += 8)
        bits |= (load64(flags + at) * 0x0102040810204080u >> 56) << at;
    return bits;
}

static inline int lowest(uint64_t bits)
{
    return __builtin_ctzll(bits);
}

/* Return the number of bits of numbers below `size`, at least 4. */
static inline int bits_for(int64_t size)
{
    int bits = 4;
    while ((int64_t)1 << bits < size)
        bits++;
    return bits;
}

/* Exported functions
 *
 * Python reads the declarations below, so each function is declared once. boundary.py checks every call against the
 * comments after the parameters before C runs:
 *
 *     [rows + 1]            number of elements of the array. A name that is not a parameter, as in [words], is the
 *                           length of the first array that has it. All other arrays must agree.
 *     from LOW to HIGH      inclusive bounds of a number, or of every element of an int64 array. LOW is 0 and HIGH is
 *                           INT64_MAX unless stated. LOW may be another int64 array, compared element by element.
 *     ascending to HIGH     the same bounds, and no element is less than the previous one.
 *
 * `/` rounds down. Arrays must be contiguous, aligned, of the dtype of the C type, and writable unless const. A call
 * that passes these checks never reads or writes outside its arrays, whatever the arrays contain. If contents that only
 * the function can check would make it do so, it returns REFUSED, which is an exception in Python.
 *
 * Rows are documents. offsets[i] to offsets[i + 1] are the bytes of row i in `data`, which is valid UTF-8. Results for
 * invalid UTF-8 are unspecified. first[i] to first[i + 1] are the words of row i. */

#define REFUSED INT64_MIN

typedef uint8_t Flag; /* 0 or 1, bool in numpy */

/* Return 16 hexadecimal digits over the sources that the library was compiled from. */
KERNEL const char *sm_digest(void);

/* Return 1 if the values ascend from `least` to `most`, else 0. */
KERNEL int64_t sm_ascending(
    const int64_t *values, /* [count] */
    int64_t count,
    int64_t least,
    int64_t most);

/* Return 1 if least <= lower[i] <= upper[i] <= most for each i, else 0. */
KERNEL int64_t sm_within(
    const int64_t *lower, /* [count] */
    const int64_t *upper, /* [count] */
    int64_t count,
    int64_t least,
    int64_t most);

/* Find the words of every row: their starts, their ends, and the first word of each row. Return the number of words. */
KERNEL int64_t sm_find_words(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    int64_t *starts, /* [(bytes + rows) / 2 + 8] */
    int64_t *ends,   /* [(bytes + rows) / 2 + 8] */
    int64_t *first); /* [rows + 1] */

/* Compute the features of the words data[starts[i]:ends[i]]. hashes: 0 for words of more than `longest` bytes.
 * code_point_offsets[i + 1] - code_point_offsets[i]: the code points of word i. counts[row]: words with a letter.
 * counts[rows + row]: words of symbols only. counts[2 * rows + row]: code points of words of symbols only. table[code
 * point]: 1 for letters, 2 for numbers, else 0. Its last element is for all code points from there on. In ASCII, the
 * letters are a to z in either case, and the numbers 0 to 9. Return the number of words of more than `longest`
 * bytes. */
KERNEL int64_t sm_word_features(
    const uint8_t *data, /* [size] */
    int64_t size,
    const int64_t *starts, /* [words] */
    const int64_t *ends,   /* [words] from starts to size */
    const int64_t *first,  /* [rows + 1] ascending to words */
    int64_t rows,
    int64_t longest,
    const uint8_t *table,        /* [codes] */
    int64_t codes,               /* from 1 */
    uint64_t *hashes,            /* [words] */
    int64_t *code_point_offsets, /* [words + 1] */
    int64_t *counts);            /* [3 * rows] */

/* Hash data[starts[i]:ends[i]] for each run, 0 for runs of more than `longest` bytes. Return the number of these. */
KERNEL int64_t sm_hash_runs(
    const uint8_t *data, /* [size] */
    int64_t size,
    const int64_t *starts, /* [runs] */
    const int64_t *ends,   /* [runs] from starts to size */
    int64_t runs,
    int64_t longest,
    uint64_t *hashes); /* [runs] */

/* Count characters of five kinds in each row, counts[kind][row]: code points; line feeds; #; ellipses, as one character
 * or three full stops in a row; code points that may be of a script without spaces, U+0800 to U+1FFF and U+3000 to
 * U+9FFF. Return 0. */
KERNEL int64_t sm_count_characters(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    int64_t *counts); /* [5 * rows] */

/* Count the code points of data[starts[i]:ends[i]]. Return 0. */
KERNEL int64_t sm_count_code_points(
    const uint8_t *data,   /* [bytes] */
    const int64_t *starts, /* [spans] */
    const int64_t *ends,   /* [spans] from starts to bytes */
    int64_t spans,
    int64_t *points); /* [spans] */

/* Count the code points of each row that table[code point] marks. The last element of the table is for all code points
 * from there on. Return 0. */
KERNEL int64_t sm_count_marked(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    const Flag *table, /* [codes] */
    int64_t codes,     /* from 1 */
    int64_t *marked);  /* [rows] */

/* Find the lines with a word in them. begin[j] to begin[j + 1] are the words of line j, first_line[row] to
 * first_line[row + 1] the lines of a row. counts[kind][row]: lines that begin with a bullet or -; lines that end with
 * an ellipsis; lines equal to an earlier one of the row, and their code points; paragraphs, which empty lines
 * separate; paragraphs equal to an earlier one, and their code points. Return the number of lines, or -1 if memory
 * ran out. */
KERNEL int64_t sm_find_lines(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    const int64_t *starts,  /* [words] */
    const int64_t *ends,    /* [words] from starts to bytes */
    const int64_t *first,   /* [rows + 1] ascending to words */
    const uint64_t *hashes, /* [words] */
    int64_t rows,
    int64_t *begin,      /* [words + 1] */
    int64_t *first_line, /* [rows + 1] */
    int64_t *counts);    /* [7 * rows] */

/* Count how many of the distinct keys are among the hashes of each row. Return 0, or -1 if memory ran out. */
KERNEL int64_t sm_count_distinct(
    const uint64_t *hashes, /* [words] */
    const int64_t *first,   /* [rows + 1] ascending to words */
    int64_t rows,
    const uint64_t *keys, /* [count] */
    int64_t count,        /* to 0xFFFFFFFE */
    int64_t *found);      /* [rows] */

/* Find the first limit on n-grams that each row exceeds: exceeded[row] is its n, 0 if there is none or the row is not
 * selected. sums: running sum of the code points of the tokens. separator: code points between two tokens. An n-gram
 * is n * scale tokens long. tops[rule]: 1 for a limit on the most frequent n-gram, 0 for a limit on duplicates.
 * Return 0, or -1 if memory ran out or a document has 2^28 tokens. */
KERNEL int64_t sm_ngram_limits(
    const uint64_t *hashes, /* [tokens] */
    const int64_t *sums,    /* [tokens + 1] ascending to 0x3FFFFFFFF */
    const int64_t *first,   /* [rows + 1] ascending to tokens */
    const int64_t *chars,   /* [rows] to 0x3FFFFFFFF */
    const Flag *selected,   /* [rows] */
    int64_t rows,
    int64_t separator,    /* to 1 */
    int64_t scale,        /* from 1 to 0xFFFF */
    const int64_t *ns,    /* [rules] ascending from 1 to 0xFFFF */
    const double *limits, /* [rules] */
    const Flag *tops,     /* [rules] */
    int64_t rules,
    int64_t occurrences,
    int64_t *exceeded); /* [rows] */

/* Compute the MinHash signatures of rows over shingles of n words. keys[row][band]: some bits of each minimum of a
 * band, side by side. factors[bin] selects the bits. Rows that are not selected, or have no words, get zeros. The
 * tables donors and offers, indices of bins, fill empty bins. Return 0, or -1 if memory ran out. */
KERNEL int64_t sm_minhash_signatures(
    const uint64_t *hashes, /* [words] */
    const int64_t *first,   /* [rows + 1] ascending to words */
    const Flag *selected,   /* [rows] */
    int64_t rows,
    int64_t n,               /* from 1 */
    int64_t bands,           /* from 1 */
    int64_t rows_of_band,    /* from 1 to 64 / bits */
    int64_t bits,            /* from 1 to 32 */
    const int64_t *donors,   /* [bands * rows_of_band * bands * rows_of_band] */
    const uint32_t *offers,  /* [bands * rows_of_band * bands * rows_of_band] */
    int64_t shift,           /* to 31 */
    const uint64_t *factors, /* [bands * rows_of_band] */
    uint64_t *keys);         /* [rows * bands] */

/* Find characters that may be irregular. points: their code points. None is missed. Some may be regular: the caller
 * must check the order of marks. starts, ends: spans to replace. kinds, replacements, classes, composites: see
 * `Alphabet` in Python. span_replacements: the byte that replaces each span, 0 for a whole line. character_counts:
 * number of characters up to the end of each span. spans[0]: number of spans. Return the number of characters.
 * Characters beyond `capacity` are only counted. */
KERNEL int64_t sm_irregular_characters(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    const uint8_t *kinds,        /* [0x110000] */
    const uint8_t *replacements, /* [0x110000] */
    const uint8_t *classes,      /* [0x110000] */
    const int64_t *composites,   /* [pairs] */
    int64_t pairs,
    int64_t capacity,
    int64_t *points,            /* [capacity] */
    int64_t *starts,            /* [capacity] */
    int64_t *ends,              /* [capacity] */
    uint8_t *span_replacements, /* [capacity] */
    int64_t *character_counts,  /* [capacity] */
    int64_t *spans);            /* [1] */

/* Copy the rows with data[starts[i]:ends[i]] replaced by new_bytes[first[i]:last[i]]. Each span is within a row, and
 * spans are in order. new_offsets: the offsets of the new rows. Return the number of bytes. */
KERNEL int64_t sm_replace_spans(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    const int64_t *starts, /* [spans] */
    const int64_t *ends,   /* [spans] from starts to bytes */
    int64_t spans,
    const uint8_t *new_bytes, /* [new_size] */
    const int64_t *first,     /* [spans] */
    const int64_t *last,      /* [spans] from first to new_size */
    uint8_t *out,             /* [out_size] */
    int64_t out_size,
    int64_t *new_offsets); /* [rows + 1] */

/* Copy the rows, whose characters are normalized, with normalized white space. new_offsets: the offsets of the new
 * rows. `code` keeps runs of white space, `collapse` shortens those inside lines. Return the number of bytes, or -1
 * if nothing changes, and then `out` and `new_offsets` are unspecified. */
KERNEL int64_t sm_normalize_whitespace(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    int64_t code,          /* to 1 */
    int64_t collapse,      /* to 1 */
    uint8_t *out,          /* [bytes] */
    int64_t *new_offsets); /* [rows + 1] */

/* Find the rows with characters that are typical of mojibake. Return the number of rows. */
KERNEL int64_t sm_maybe_mojibake(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    Flag *found); /* [rows] */

/* Compare each row with the stored documents. codes[row]: 1 if a document has a key in common in the first `exact`
 * columns, 2 if a document has a key in common in another column and an estimated similarity of at least `jaccard`,
 * else 0. A candidate with code 0 and at least one key is stored as the next document. A key of 0 is ignored. table:
 * document numbers + 1, zeros at first. A search may not end in a table that was filled in another way. Return the
 * number of documents afterwards, or -1 - n if n new documents exceed the capacity. */
KERNEL int64_t sm_find_duplicates(
    const uint64_t *keys,   /* [rows * columns] */
    const Flag *candidates, /* [rows] */
    int64_t rows,
    int64_t columns,      /* from 1 */
    int64_t exact,        /* to columns */
    int64_t bands,        /* to columns - exact */
    int64_t rows_of_band, /* from 1 to 64 / bits */
    int64_t bits,         /* from 1 to 32 */
    double jaccard,
    uint64_t *stored_keys, /* [capacity * columns] */
    int64_t documents,     /* to capacity */
    int64_t capacity,      /* to 0xFFFFFFFE */
    uint32_t *table,       /* [slots] */
    int64_t slots,         /* from capacity * columns + 1 */
    uint8_t *codes);       /* [rows] */

/* Insert the keys of the documents begin to end into the table. Return 0. */
KERNEL int64_t sm_insert_keys(
    const uint64_t *stored_keys, /* [keys] */
    int64_t begin,               /* to end */
    int64_t end,                 /* to keys / columns */
    int64_t columns,             /* from 1 */
    uint32_t *table,             /* [slots] */
    int64_t slots);              /* from end * columns + 1 */

/* Estimate the Jaccard similarity of one[row] and other[row] from their signatures. Return 0. */
KERNEL int64_t sm_signature_agreement(
    const uint64_t *one,   /* [rows * bands] */
    const uint64_t *other, /* [rows * bands] */
    int64_t rows,
    int64_t bands,        /* from 1 */
    int64_t rows_of_band, /* from 1 to 64 / bits */
    int64_t bits,         /* from 1 to 32 */
    double *found);       /* [rows] */

#endif
