/* The exported functions and what they share. All of them are plain C11 over whole blocks. They call no library but
 * malloc, keep no state between calls, and return the same on every machine. */
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
#define STIR 0xD6E8FEB86659FD93u /* odd, of well-spread bits */

/* Eight bytes, the first the lowest, on every machine. */
static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Bit k is flags[k], of 64 flags that are 0 or 1: the product brings eight of them into the upper byte. */
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

/* Of how many bits numbers below `size` are, 4 at least. */
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
 * comments behind the parameters before C runs:
 *
 *     [rows + 1]            number of elements of the array. A name that is no parameter, as in [words], is the length
 *                           of the first array that has it, and every other array must agree.
 *     from LOW to HIGH      inclusive bounds of a number, or of every element of an int64 array. LOW is 0 and HIGH is
 *                           INT64_MAX unless stated. LOW may be another int64 array, compared element by element.
 *     ascending to HIGH     the same bounds, and no element is less than the one before it.
 *
 * `/` rounds down. Arrays must be contiguous, aligned, of the dtype of the C type, and writable unless const. A call that
 * passes these checks never reads or writes outside its arrays, whatever the arrays contain. Contents that would make a
 * function do so, and that only the function can see, make it return REFUSED, which is an exception in Python.
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

/* Spell the words data[starts[i]:ends[i]]. hashes: their hashes, 0 for words of more than `longest` bytes.
 * places[i + 1] - places[i]: the code points of word i. counts[row]: words with a letter. counts[rows + row]: words of
 * signs alone. counts[2 * rows + row]: code points of words of signs alone. table[code point]: 1 for letters, 2 for
 * numbers, else 0, and its last element is for all code points from there on. Of ASCII, a to z in either case are the
 * letters and 0 to 9 the numbers. Return the number of words of more than `longest` bytes. */
KERNEL int64_t sm_word_features(
    const uint8_t *data, /* [size] */
    int64_t size,
    const int64_t *starts, /* [words] */
    const int64_t *ends,   /* [words] from starts to size */
    const int64_t *first,  /* [rows + 1] ascending to words */
    int64_t rows,
    int64_t longest,
    const uint8_t *table, /* [codes] */
    int64_t codes,        /* from 1 */
    uint64_t *hashes,     /* [words] */
    int64_t *places,      /* [words + 1] */
    int64_t *counts);     /* [3 * rows] */

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
 * first_line[row + 1] the lines of a row. counts[kind][row]: lines that begin with a bullet or -; lines that end with an
 * ellipsis; lines equal to an earlier one of the row, and their code points; paragraphs, which empty lines separate;
 * paragraphs equal to an earlier one, and their code points. Return the number of lines, or -1 if memory ran out. */
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

/* Count how many of the different keys are among the hashes of each row. Return 0, or -1 if memory ran out. */
KERNEL int64_t sm_count_distinct(
    const uint64_t *hashes, /* [words] */
    const int64_t *first,   /* [rows + 1] ascending to words */
    int64_t rows,
    const uint64_t *keys, /* [count] */
    int64_t count,        /* to 0xFFFFFFFE */
    int64_t *found);      /* [rows] */

/* Find the first limit on n-grams that each row passes: passed[row] is its n, 0 if there is none or the row is not
 * wanted. sums: running sum of the code points of the tokens. spaced: code points between two tokens. An n-gram is
 * n * scale tokens long. tops[rule]: whether the limit is on the most frequent n-gram, rather than on duplicates.
 * Return 0, or -1 if memory ran out or a document has 2^28 tokens. */
KERNEL int64_t sm_ngram_limits(
    const uint64_t *hashes, /* [tokens] */
    const int64_t *sums,    /* [tokens + 1] ascending to 0x3FFFFFFFF */
    const int64_t *first,   /* [rows + 1] ascending to tokens */
    const int64_t *chars,   /* [rows] to 0x3FFFFFFFF */
    const Flag *wanted,     /* [rows] */
    int64_t rows,
    int64_t spaced,       /* to 1 */
    int64_t scale,        /* from 1 to 0xFFFF */
    const int64_t *ns,    /* [rules] ascending from 1 to 0xFFFF */
    const double *limits, /* [rules] */
    const Flag *tops,     /* [rules] */
    int64_t rules,
    int64_t occurrences,
    int64_t *passed); /* [rows] */

/* Make the MinHash signatures of rows over shingles of n words, keys[row][band]: some bits of each minimum of a band,
 * side by side. factors[bin] chooses the bits. Rows that are not wanted, or have no words, get zeros. The tables donors
 * and offers, indices of bins, fill empty bins. Return 0, or -1 if memory ran out. */
KERNEL int64_t sm_minhash_signatures(
    const uint64_t *hashes, /* [words] */
    const int64_t *first,   /* [rows + 1] ascending to words */
    const Flag *wanted,     /* [rows] */
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

/* Find the characters that may not be plain: points, their code points, and the spans to replace for them. None is
 * missed. Some that are found may still be plain, in an order of marks that the caller must judge. kinds, becomes,
 * classes, composites: see `Alphabet` in Python. fresh: the byte that replaces each span, 0 for a whole line. lasts: how
 * many characters there are up to the end of each span. spans[0]: the number of spans. Return the number of characters.
 * Those beyond `room` are only counted. */
KERNEL int64_t sm_irregular_characters(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    const uint8_t *kinds,      /* [0x110000] */
    const uint8_t *becomes,    /* [0x110000] */
    const uint8_t *classes,    /* [0x110000] */
    const int64_t *composites, /* [pairs] */
    int64_t pairs,
    int64_t room,
    int64_t *points, /* [room] */
    int64_t *starts, /* [room] */
    int64_t *ends,   /* [room] */
    uint8_t *fresh,  /* [room] */
    int64_t *lasts,  /* [room] */
    int64_t *spans); /* [1] */

/* Copy the rows with data[starts[i]:ends[i]] replaced by fresh[first[i]:last[i]]. Each span is within a row, and spans
 * are in order. moved: the offsets of the new rows. Return the number of bytes. */
KERNEL int64_t sm_replace_spans(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    const int64_t *starts, /* [spans] */
    const int64_t *ends,   /* [spans] from starts to bytes */
    int64_t spans,
    const uint8_t *fresh, /* [fresh_bytes] */
    const int64_t *first, /* [spans] */
    const int64_t *last,  /* [spans] from first to fresh_bytes */
    uint8_t *out,         /* [room] */
    int64_t room,
    int64_t *moved); /* [rows + 1] */

/* Copy the rows, which are in plain characters, with plain layout. moved: the offsets of the new rows. `code` keeps runs
 * of white space, `collapse` shortens those inside lines. Return the number of bytes, or -1 if nothing has to change,
 * and then `out` and `moved` are unspecified. */
KERNEL int64_t sm_normalize_whitespace(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    int64_t code,     /* to 1 */
    int64_t collapse, /* to 1 */
    uint8_t *out,     /* [bytes] */
    int64_t *moved);  /* [rows + 1] */

/* Find the rows that have a character which mojibake leaves. Return their number. */
KERNEL int64_t sm_maybe_mojibake(
    const uint8_t *data,    /* [bytes] */
    const int64_t *offsets, /* [rows + 1] ascending to bytes */
    int64_t rows,
    Flag *found); /* [rows] */

/* Look each row up among the documents seen before. codes[row]: 1 if one has a key in common in the first `exact`
 * columns, 2 if one has a key in common in another column and agrees by `jaccard`, else 0. A candidate with code 0 and
 * at least one key is entered as the next document. A key of 0 is no key. table: numbers of documents + 1, zeros at first.
 * A search in a table that was filled in another way may not end. Return the number of documents afterwards, or -1 - n if
 * n of the new ones had no room. */
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
    uint64_t *held_keys, /* [room * columns] */
    int64_t documents,   /* to room */
    int64_t room,        /* to 0xFFFFFFFE */
    uint32_t *table,     /* [slots] */
    int64_t slots,       /* from room * columns + 1 */
    uint8_t *codes);     /* [rows] */

/* Enter the keys of documents begin to end into the table. Return 0. */
KERNEL int64_t sm_insert_keys(
    const uint64_t *held_keys, /* [keys] */
    int64_t begin,             /* to end */
    int64_t end,               /* to keys / columns */
    int64_t columns,           /* from 1 */
    uint32_t *table,           /* [slots] */
    int64_t slots);            /* from end * columns + 1 */

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
