"""Calls of the compiled kernels: invalid arguments are rejected, and all others keep C within its arrays."""

import re

import numpy as np
import pytest

from smollm3_mix.text.kernels import compile_kernels, native
from smollm3_mix.text.kernels.header import INT64_MAX, declarations

DECLARED = declarations(compile_kernels.HERE.joinpath("kernels.h").read_text(encoding="utf-8"))
OUTSIDE = "(): the contents of the arrays are invalid: they point outside the arrays"

every_function = pytest.mark.parametrize("declared", DECLARED, ids=lambda each: each.name)


# Invalid arguments


def value(expression, known):
    return eval(expression.replace("/", "//"), {}, known)


def numbers(declared, choose, **fixed):
    """Choose all numbers and lengths of a call within their bounds, in the order of their dependencies."""
    known = {length: choose(length, 0, INT64_MAX) for length in declared.lengths} | fixed
    left = [own for own in declared.parameters if own.length is None and own.name not in fixed]
    while left:
        for own in left:
            if own.dtype == "float64":
                known[own.name] = 0.5
                break
            try:
                known[own.name] = choose(own.name, value(own.low, known), value(own.high or str(INT64_MAX), known))
                break
            except NameError:
                continue
        left.remove(own)
    return known


def small(_, low, high):
    return max(low, min(2, high))


def valid(declared, **fixed):
    """Return valid arguments by name, with the numbers in `fixed`."""
    known = numbers(declared, small, **fixed)
    found = dict(known)
    for own in declared.parameters:
        if own.length is not None:
            found[own.name] = np.zeros(value(own.length, known), own.dtype)
            if own.bounded and own.low not in found:
                found[own.name] += np.int64(value(own.low, known))
    return {own.name: found[own.name] for own in declared.parameters}


def assert_rejected(declared, arguments, error, message):
    with pytest.raises(error) as caught:
        native.KERNELS[declared.name](*arguments.values())
    assert type(caught.value) is error
    assert str(caught.value) == f"{declared.name}(): {message}"


def arrays_of(declared):
    return [own for own in declared.parameters if own.length is not None]


def integers_of(declared):
    return [own for own in declared.parameters if own.length is None and own.dtype == "int64"]


def limit(expression, known):
    """Return an expression as in messages."""
    number = value(expression, known)
    return str(number) if is_constant(expression) else f"{expression} = {number}"


def is_constant(expression):
    return re.fullmatch(r"\d\w*", expression) is not None


@every_function
def test_kernel_runs_with_valid_arguments(declared):
    try:
        result = native.KERNELS[declared.name](*valid(declared).values())
    except ValueError as error:
        assert str(error) == declared.name + OUTSIDE  # noqa: PT017 - zeros are not a valid table of donors
        assert declared.name == "minhash_signatures"
    else:
        assert isinstance(result, bytes if declared.name == "digest" else int)


@every_function
def test_kernel_rejects_wrong_number_of_arguments(declared):
    arguments = list(valid(declared).values())
    with pytest.raises(TypeError, match=rf"{declared.name}\(\) takes \d+ positional arguments? but"):
        native.KERNELS[declared.name](*arguments, 1)
    if arguments:
        with pytest.raises(TypeError, match=rf"{declared.name}\(\) missing 1 required positional argument: '\w+'"):
            native.KERNELS[declared.name](*arguments[:-1])


@every_function
def test_kernel_rejects_other_types(declared):
    arguments = valid(declared)
    for own in declared.parameters:
        if own.length is None:
            expected = "an int" if own.dtype == "int64" else "a float"
            wrong = [("1", "str"), (None, "NoneType"), (np.int64(1), "int64")] + [(1.0, "float")] * (
                expected == "an int"
            )
        else:
            expected = f"an array of {own.dtype}"
            other = "int32" if own.dtype != "int32" else "int64"
            size = arguments[own.name].size
            wrong = [([0] * size, "list"), (bytes(size), "bytes"), (None, "NoneType")]
            wrong += [(np.zeros(size, other), f"an array of {other}"), (np.zeros(size, ">u8"), "an array of >u8")]
        for argument, got in wrong:
            assert_rejected(
                declared, arguments | {own.name: argument}, TypeError, f"{own.name} must be {expected}, got {got}"
            )


@every_function
def test_kernel_rejects_other_layouts(declared):
    arguments = valid(declared)
    for own in arrays_of(declared):
        array = arguments[own.name]
        apart = np.repeat(array, 2)[::2]
        if len(array) > 1:
            message = f"{own.name} must be C-contiguous, got strides ({2 * array.itemsize},)"
            assert_rejected(declared, arguments | {own.name: apart}, ValueError, message)
        if array.itemsize > 1:
            shifted = np.frombuffer(bytearray(array.nbytes + 1), array.dtype, len(array), offset=1)
            assert_rejected(declared, arguments | {own.name: shifted}, ValueError, f"{own.name} must be aligned")
        if own.writable:
            array.flags.writeable = False
            assert_rejected(declared, arguments, ValueError, f"{own.name} must be writable")
            array.flags.writeable = True


@every_function
def test_kernel_rejects_other_lengths(declared):
    arguments, known = valid(declared), numbers(declared, small)
    for own in arrays_of(declared):
        length = len(arguments[own.name])
        if declared.lengths.get(own.length) == own.name:
            continue  # the array that defines the length
        for other in (length + 1, length - 1, 0, 2 * length):
            message = f"{own.name} must have the length {limit(own.length, known)}, got {other}"
            assert_rejected(declared, arguments | {own.name: np.zeros(other, own.dtype)}, ValueError, message)


@every_function
def test_kernel_rejects_numbers_out_of_bounds(declared):
    known = numbers(declared, small)
    for own in integers_of(declared):
        high = own.high or str(INT64_MAX)
        for edge, step, must in ((own.low, -1, "at least"), (high, 1, "at most")):
            number = value(edge, known) + step
            fixed = {} if is_constant(edge) else {own.name: number}  # all lengths match the number
            arguments = valid(declared, **fixed) | {own.name: number}
            message = f"{own.name} must be {must} {limit(edge, known)}, got {number}"
            assert_rejected(declared, arguments, ValueError, message)


@every_function
def test_kernel_rejects_elements_out_of_bounds(declared):
    known = numbers(declared, small)
    for own in arrays_of(declared):
        if not own.bounded:
            continue
        lower = own.low if own.low in {each.name for each in arrays_of(declared)} else None
        low, high = 0 if lower else value(own.low, known), value(own.high, known)
        for position in (0, -1):
            for number in (low - 1, high + 1, -(2**63), 2**63 - 1):
                arguments = valid(declared)
                arguments[own.name][position] = number
                nth = position % len(arguments[own.name])
                message = f"{own.name}[{nth}] must be from {low} to {high}, got {number}"
                assert_rejected(declared, arguments, ValueError, message)
        arguments = valid(declared)
        array = arguments[own.name]
        if own.ascending:
            array[:-1] = high
            message = f"{own.name}[{len(array) - 1}] must be from {high} to {high}, got {low}"
            assert_rejected(declared, arguments, ValueError, message)
        if lower:
            arguments[lower][-1] = 1
            message = f"{own.name}[{len(array) - 1}] must be from 1 to {high}, got 0"
            assert_rejected(declared, arguments, ValueError, message)
            arguments[lower][-1] = -1
            message = f"{lower}[{len(array) - 1}] must be from 0 to {high}, got -1"
            assert_rejected(declared, arguments, ValueError, message)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_error_names_the_element_of_a_matrix():
    counts, data, starts = np.zeros(2, np.int64), np.zeros(4, np.uint8), np.asmatrix(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"^count_code_points\(\): ends\[1\] must be from 0 to 4, got 5$"):
        native.count_code_points(data, starts, np.array([0, 5]), 2, counts)
    with pytest.raises(ValueError, match=r"^count_code_points\(\): starts\[1\] must be from 0 to 4, got 5$"):
        native.count_code_points(data, np.asmatrix([0, 5]), np.array([0, 4]), 2, counts)


def test_ascending_detects_overflowing_differences():
    values = np.array([0, 2**63 - 1, -2, 3], np.int64)
    assert native.ascending(values, 4, 0, 5) == 0
    assert native.ascending(np.array([1, 1, 5], np.int64), 3, 1, 5) == 1
    assert native.ascending(np.zeros(0, np.int64), 0, 1, 5) == 1


# Accepted arguments keep C within the arrays, also under the sanitizers of .ci/sanitize

GUARD = 64  # bytes on both sides of each array that C writes to
TEXT = "Word … word\n\n\u00a0- été • 混合\u200b物 e\u0301\u0301 `code` 🇻🇳\t...  \u2003Ö#\x85".encode()


class Arbitrary:
    """Valid arguments with arbitrary contents."""

    def __init__(self, declared, rng):
        self.declared, self.rng = declared, rng
        expressions = [own.length for own in arrays_of(declared)]
        self.alone = {each for each in expressions if each.isidentifier()}
        composed = " ".join(each for each in expressions if not each.isidentifier())
        self.composed = set(re.findall(r"[a-z_]+", composed)) - set(declared.lengths)
        known = numbers(declared, self.number)
        self.guarded, self.arguments = [], dict(known)
        for own in arrays_of(declared):
            self.arguments[own.name] = self.array(own, value(own.length, known), known)
        self.arguments = {own.name: self.arguments[own.name] for own in declared.parameters}

    def number(self, name, low, high):
        pick = [0, 1, 8, 64, 1024, high]
        if name in self.composed | self.alone:
            pick = self.rng.integers(0, 6 if name in self.composed else 300, 1)
        return max(low, min(int(pick[self.rng.integers(len(pick))]), high))

    def array(self, own, length, known):
        values = self.contents(own, length, known).astype(own.dtype)
        if not own.writable:
            return values
        size = values.nbytes
        buffer = np.full(GUARD + size + GUARD, 0xA5, np.uint8)
        buffer[GUARD : GUARD + size] = values.view(np.uint8)
        self.guarded.append((own.name, buffer, size))
        return buffer[GUARD : GUARD + size].view(own.dtype)

    def contents(self, own, length, known):
        rng = self.rng
        if length > 100_000:
            return np.resize(self.contents(own, 4099, known), length)
        if own.bounded and own.low in self.arguments:
            lower = self.arguments[own.low]
            lower[:] = np.sort(rng.integers(0, value(own.high, known) + 1, length)) if rng.random() < 0.7 else lower % 1
            return rng.integers(lower, value(own.high, known) + 1)
        if own.bounded:
            found = rng.integers(value(own.low, known), value(own.high, known) + 1, length)
            if own.ascending and length > 1 and rng.random() < 0.7:
                found[0] = value(own.high, known)  # the last row ends where the data ends
            return np.sort(found) if own.ascending else found
        if own.dtype == "float64":
            return rng.choice([-1.0, 0.0, 0.01, 0.5, 2.0, np.nan], length)
        if own.dtype == "uint8" and rng.random() < 0.7:
            return np.resize(np.roll(np.frombuffer(TEXT, np.uint8), rng.integers(len(TEXT))), length)
        wide = np.frombuffer(rng.bytes(8 * length), np.uint64)
        found = np.where(rng.random(length) < rng.random(), wide, wide % np.uint64(5))
        if own.name == "table" and own.dtype == "uint32":
            found |= np.uint64(2**31)  # no document has such a number, so the search in a full table ends
        return found

    def intact(self):
        return [
            name for name, buffer, size in self.guarded if (np.delete(buffer, slice(GUARD, GUARD + size)) != 0xA5).any()
        ]


@every_function
def test_kernel_stays_within_arrays_for_any_contents(declared):
    rng, ran = np.random.default_rng(16), 0
    for _ in range(150):
        call = Arbitrary(declared, rng)
        constant = {own.name: call.arguments[own.name].copy() for own in arrays_of(declared) if not own.writable}
        try:
            native.KERNELS[declared.name](*call.arguments.values())
            ran += 1
        except ValueError as error:
            assert str(error) == declared.name + OUTSIDE  # noqa: PT017
        assert call.intact() == []
        for name, before in constant.items():
            assert call.arguments[name].tobytes() == before.tobytes()
    assert ran > 10


def test_replace_spans_rejects_overlap_and_overflow():
    data, new_bytes = np.frombuffer(b"0123456789", np.uint8), np.frombuffer(b"abc", np.uint8)
    first, last = np.array([0, 1]), np.array([1, 3])

    def replaced(starts, ends, size, offsets=(0, 10)):
        out, new_offsets = np.zeros(size, np.uint8), np.zeros(2, np.int64)
        parts = (data, np.array(offsets), 1, np.array(starts), np.array(ends), 2, new_bytes, first, last)
        return out[: native.replace_spans(*parts, out, size, new_offsets)].tobytes()

    assert replaced([2, 5], [4, 5], 11) == b"01a4bc56789"
    for starts, ends, size, offsets in (
        ([2, 3], [4, 5], 11, (0, 10)),  # the second begins within the first
        ([5, 2], [5, 4], 11, (0, 10)),  # not in order
        ([2, 5], [4, 5], 10, (0, 10)),  # no space for the rest
        ([2, 5], [4, 5], 3, (0, 10)),  # no space for the second
        ([2, 5], [4, 9], 11, (0, 8)),  # the second ends after the row
    ):
        with pytest.raises(ValueError, match=re.escape("replace_spans" + OUTSIDE)):
            replaced(starts, ends, size, offsets)


def test_minhash_kernel_rejects_tables_with_missing_bins():
    selected, factors, keys = np.ones(1, np.bool_), np.ones(16, np.uint64), np.zeros((1, 2), np.uint64)
    donors, offers = np.zeros((16, 16), np.int64), np.zeros((16, 16), np.uint32)

    def signatures(count, donors, offers):
        return native.minhash_signatures(
            np.arange(count, dtype=np.uint64),
            np.array([0, count]),
            selected,
            1,
            1,
            2,
            8,
            8,
            donors,
            offers,
            5,
            factors,
            keys,
        )

    assert signatures(2, donors, np.arange(16, dtype=np.uint32) + offers) == 0
    for count, wrong, offered in (
        (2, donors, offers + np.uint32(16)),  # few bins are occupied, so the offers are used
        (12, donors + 16, offers),  # many bins are occupied, so the donors are used
        (12, donors - 1, offers),
        (
            12,
            np.repeat(np.arange(16), 16).reshape(16, 16).T.copy(),
            offers,
        ),  # the donor of each empty bin is the bin itself
    ):
        with pytest.raises(ValueError, match=re.escape("minhash_signatures" + OUTSIDE)):
            signatures(count, wrong, offered)


def test_key_table_treats_unknown_documents_as_free():
    keys, flags, codes = np.array([[5], [5], [6]], np.uint64), np.ones(3, np.bool_), np.zeros(3, np.uint8)
    stored, table = np.zeros((3, 1), np.uint64), np.full(5, 2**32 - 1, np.uint32)
    assert native.find_duplicates(keys, flags, 3, 1, 1, 0, 1, 1, 0.0, stored, 0, 3, table, 5, codes) == 2
    assert codes.tolist() == [0, 1, 0]
    assert stored.tolist() == [[5], [6], [0]]


@pytest.mark.parametrize("text", [b"\xc3", b"a\xe4\xb8", b"\xf0\x9f\x98"])
def test_truncated_character_uses_last_table_element(text):
    found = np.zeros(1, np.int64)
    table = np.concatenate([np.zeros(255, np.bool_), [True]])
    native.count_marked(np.frombuffer(text, np.uint8), np.array([0, len(text)]), 1, table, 256, found)
    assert found.tolist() == [1]
