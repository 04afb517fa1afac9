"""Every reason a judge can give, in the order in which they are looked for."""

REASONS = {
    "empty": "it has no code points",
    "too_short": "fewer code points than min_chars",
    "too_long": "more code points than max_chars",
    "too_few_words": "fewer words than min_words",
    "too_many_words": "more words than max_words",
    "words_too_short": "the mean word is shorter than min_mean_word_chars",
    "words_too_long": "the mean word is longer than max_mean_word_chars",
    "too_many_hashes": "more # per word than max_hashes_per_word",
    "too_many_ellipses": "more ellipses per word than max_ellipses_per_word",
    "too_many_bullet_lines": "a larger share of lines begins with a bullet than max_bullet_lines",
    "too_many_ellipsis_lines": "a larger share of lines ends with an ellipsis than max_ellipsis_lines",
    "too_few_alphabetic_words": "a smaller share of words has a letter than min_alphabetic_words",
    "too_few_stop_words": "fewer different stop words than min_stop_words",
    "duplicate_lines": "too large a share of its lines stands in it before",
    "duplicate_paragraphs": "too large a share of its paragraphs stands in it before",
    "duplicate_line_chars": "too large a share of its text is lines that stand in it before",
    "duplicate_paragraph_chars": "too large a share of its text is paragraphs that stand in it before",
    **{f"top_{n}gram": f"its most frequent run of {n} words makes up too large a share of it" for n in (2, 3, 4)},
    **{
        f"duplicate_{n}grams": f"too large a share of it is runs of {n} words that stand in it before"
        for n in range(5, 11)
    },
    "lorem_ipsum": "it has filler text",
    "curly_bracket": "it has a curly bracket in its prose",
    "too_few_sentences": "fewer sentences in well-formed lines than min_sentences",
    "too_few_punctuated_lines": "a smaller share of lines ends a sentence than min_punctuated_lines",
    "too_many_short_lines": "a larger share of lines is short than max_short_lines",
    "too_many_newlines": "more line feeds per word than max_newlines_per_word",
    "too_many_lines": "more lines than max_lines",
    "line_too_long": "its longest line is longer than max_line_chars",
    "lines_too_long": "the mean line is longer than max_mean_line_chars",
    "too_few_alphanumerics": "a smaller share of letters and digits than min_alphanumerics",
}
"""Reason → what was found. A user's own function (`Judge.python`) may give others."""
