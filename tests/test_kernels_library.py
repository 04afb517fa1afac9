"""The library of the kernels: import errors, exported functions, and invalid headers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smollm3_mix.text.kernels import compile_kernels, native
from smollm3_mix.text.kernels.header import HeaderError, declarations

PACKAGE = Path(native.__file__).parents[2]
DECLARED = declarations(compile_kernels.HERE.joinpath("kernels.h").read_text(encoding="utf-8"))


@pytest.fixture
def package_copy(tmp_path):
    """Copy of the package that a test can change."""
    shutil.copytree(PACKAGE, tmp_path / "smollm3_mix", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def imported(folder):
    code = "import smollm3_mix.text.kernels.native as kernels; print(kernels.__file__)"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_import_raises_with_compile_command_when_library_is_stale(package_copy):
    folder = package_copy / "smollm3_mix" / "text" / "kernels"
    with (folder / "words.c").open("a") as file:
        file.write("/* changed */\n")
    done = imported(package_copy)
    assert done.returncode
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: {folder / compile_kernels.LIBRARY.name} was compiled from other sources (")
    assert message.endswith(f". Compile it: python {folder / 'compile_kernels.py'}")


def test_import_raises_with_compile_command_when_library_is_missing(package_copy):
    folder = package_copy / "smollm3_mix" / "text" / "kernels"
    (folder / compile_kernels.LIBRARY.name).unlink()
    done = imported(package_copy)
    assert "the compiled kernels of smollm3_mix cannot be loaded" in done.stderr
    assert done.stderr.strip().endswith(f". Compile it: python {folder / 'compile_kernels.py'}")
    if compile_kernels.compiler() is None:
        pytest.skip("no C compiler is left on this machine: the one that built the package came with the build")
    subprocess.run([sys.executable, folder / "compile_kernels.py"], check=True, capture_output=True)
    assert str(folder) in imported(package_copy).stdout


def test_library_exports_declared_functions():
    symbols = {each.symbol for each in DECLARED}
    exported = re.findall(rb"\0_?(sm_\w+)(?=\0)", compile_kernels.LIBRARY.read_bytes())
    assert {symbol.decode() for symbol in exported} == symbols
    assert set(native.KERNELS) == {symbol.removeprefix("sm_") for symbol in symbols}


def test_definitions_have_declared_parameters():
    """Check the order of the names. The compiler checks the types only."""
    source = "".join(path.read_text(encoding="utf-8") for path in compile_kernels.sources() if path.suffix == ".c")
    defined = re.findall(r"^[a-z0-9_ ]+ \*?(sm_\w+)\(([^)]*)\)\n\{", source, re.M)
    found = {symbol: [re.findall(r"\w+", each)[-1] for each in parameters.split(",")] for symbol, parameters in defined}
    assert found == {each.symbol: [own.name for own in each.parameters] or ["void"] for each in DECLARED}


def test_compiler_rejects_undeclared_function(package_copy):
    if compile_kernels.compiler() is None:
        pytest.skip("no C compiler is left on this machine: the one that built the package came with the build")
    folder = package_copy / "smollm3_mix" / "text" / "kernels"
    folder.joinpath("more.c").write_text("int sm_more(void)\n{\n    return 0;\n}\n")
    command = [sys.executable, folder / "compile_kernels.py", "-fsyntax-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "sm_more" in done.stderr
    assert "missing-prototypes" in done.stderr


def header(parameters, comment="/* Do it. */\n", symbol="sm_it"):
    return f"{comment}KERNEL int64_t {symbol}(\n{parameters}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 of 0 declarations that begin with KERNEL can be read"),
        (header("int64_t n"), "0 of 1 declarations that begin with KERNEL can be read"),
        (header("int64_t n);") * 2, "declared twice: ['sm_it']"),
        (header("int64_t n);", comment=""), "sm_it must begin with sm_ and have a comment above its declaration"),
        (header("int64_t n);", symbol="it"), "it must begin with sm_ and have a comment above its declaration"),
        (header("const int64_t *a);"), "sm_it: a: an array needs its length in brackets, and nothing else has one"),
        (header("int64_t n); /* [3] */"), "sm_it: n: an array needs its length in brackets, and nothing else has one"),
        (header("int64_t n, unsigned m);"), "sm_it: m: unsigned is not a type that Python can pass"),
        (header("float *a); /* [3] */"), "sm_it: a: float * is not a type that Python can pass"),
        (header("uint8_t n);"), "sm_it: n: uint8_t is not a type that Python can pass"),
        (header("int64_t **a); /* [3] */"), "sm_it: cannot read 'int64_t **a; /* [3] */'"),
        (header("int64_t);"), "sm_it: cannot read 'int64_t; /*  */'"),
        (header("int64_t n); /* at least 3 */"), "sm_it: n: cannot read the comment 'at least 3'"),
        (header("int64_t n); /* ascending to 3 */"), "sm_it: n: only an array can ascend, and needs an upper bound"),
        (header("int64_t *a); /* [3] ascending */"), "sm_it: a: only an array can ascend, and needs an upper bound"),
        (header("double *a); /* [3] to 3 */"), "sm_it: a: only int64_t can have bounds"),
        (header("double x); /* to 3 */"), "sm_it: x: only int64_t can have bounds"),
        (
            header("int64_t *a); /* [n + 1] */"),
            "sm_it: a: ['n'] are neither numbers of the function nor lengths of arrays",
        ),
        (header("double n, int64_t *a); /* [n + 1] */"), "sm_it: a: ['n'] are neither numbers of the function"),
        (header("int64_t n); /* to m */"), "sm_it: n: ['m'] are neither numbers of the function"),
        (
            header("int64_t n, int64_t *a); /* [n] from b to 3 */"),
            "sm_it: a: ['b'] are neither numbers of the function",
        ),
        (
            header("int64_t n, int64_t *b, /* [3] */\nint64_t *a); /* [n] from b to 3 */"),
            "sm_it: a: ['b'] are neither numbers of the function",
        ),
        (
            header("int64_t *b, /* [3] */\nint64_t *a); /* [3] ascending from b to 3 */"),
            "sm_it: a: an array that ascends cannot have an array as lower bound",
        ),
        (header("int64_t n, int64_t *n); /* [3] */"), "sm_it: a name is used twice"),
        (header("int64_t *a, /* [b] */\nint64_t *b); /* [3] */"), "sm_it: a name is used twice"),
        (header("int64_t n, int64_t *a); /* [n +] */"), "'n +' is not an expression"),
        (header("int64_t n, int64_t *a); /* [f(n)] */"), "'f(n)' must consist of + - * /, names and whole numbers"),
        (
            header("int64_t n, int64_t *a); /* [n + 0.5] */"),
            "'n + 0.5' must consist of + - * /, names and whole numbers",
        ),
    ],
    ids=lambda text: re.sub(r"\W+", "-", text)[:50],
)
def test_declarations_rejects_invalid_header(text, message):
    with pytest.raises(HeaderError, match=re.escape(message)):
        declarations(text)
