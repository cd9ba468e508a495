"""Input that breaks programs: odd numbers and words, broken text, hostile JSON."""

from typing import Any

from hypothesis import strategies as st

ODD_NUMBERS = [
    *("0", "-0", "+1", "1e400", "-1e400", "1e-400", "nan", "-nan", "NaN", "inf", "-Infinity"),
    *("0x10", "1_000", "1e", "e5", ".", "..5", "1,5", "1d3", "0b1", "1000.", ".5", "999.98"),
    *(
        "\u0661\u0662",
        "\uff11",
        "\u00bd",
        "\u2212" + "5",
        "1\u00a02",
        "--5",
        "5-",
        "NULL",
        "b=1000",
    ),
    *("9" * 400, "1" * 5000, "0." + "0" * 5000 + "1", "x" * 10_000, "-5", "1e9", "200001", "#"),
]
ODD_TEXTS = [
    *(
        "",
        "\0",
        "\ud800",
        "\u202e",
        "n/a",
        "../../../../etc/passwd",
        "/",
        "~root",
        "~nobody-at-all",
    ),
    *(
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "'; DROP TABLE x; --",
        "$(id)",
    ),
    *(
        "`id`",
        "{{7*7}}",
        "{0}",
        "%s%n",
        "a" * 5000,
        "\u0000\u0001",
        "\U0001f9e0",
        "null",
        "j",
        "j-",
    ),
    *(
        "bids::",
        "bids:raw:x",
        "sub-01",
        "ses-",
        "*",
        "[",
        "(?P<",
        "\\",
        "\n\n# heading\n",
        "i",
        "k-",
    ),
]

numbers = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 1e308, 1e-308, 0.05, 0.75, 2**63, 2**31, -1]),
)
texts = st.one_of(st.text(max_size=20), st.sampled_from(ODD_TEXTS))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
json_values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def fields(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Give JSON objects in which the fields that are read have values of any kind."""
    known = st.dictionaries(st.sampled_from(names), json_values, max_size=5)
    return st.builds(
        lambda one, other: other | one, known, st.dictionaries(texts, json_values, max_size=2)
    )


@st.composite
def mutated_bytes(draw: Any, content: bytes) -> bytes:
    """Change bytes anywhere, cut, double or insert."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["set", "set", "set", "flip", "cut", "insert", "repeat"]))
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        if kind == "set" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif kind == "flip" and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del changed[at : at + draw(st.sampled_from([1, 3, 100, 10**9]))]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(max_size=8))
        else:
            changed[at:at] = changed[at : at + 50]
    return bytes(changed)


@st.composite
def mutated_tables(draw: Any, rows: list[list[str]]) -> bytes:
    """Change a table of numbers word by word, its separators, its ends and its encoding."""
    rows = [list(row) for row in rows]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.integers(0, len(rows) - 1))
        at = draw(st.integers(0, max(len(rows[row]) - 1, 0)))
        word = draw(
            st.one_of(
                st.sampled_from(ODD_NUMBERS),
                st.floats().map(repr),
                st.floats(-1.2, 1.2).map("{:.6f}".format),
                st.text(max_size=5),
            )
        )
        kind = draw(st.sampled_from(["set", "set", "set", "drop", "add", "drop row", "add row"]))
        if kind == "set" and rows[row]:
            rows[row][at] = word
        elif kind == "drop" and rows[row]:
            del rows[row][at]
        elif kind == "add":
            rows[row].insert(at, word)
        elif kind == "drop row" and len(rows) > 1:
            del rows[row]
        else:
            rows.insert(row, list(rows[row]))
    if draw(st.integers(0, 5)) == 0:
        rows = [list(column) for column in zip(*rows, strict=False)]
    blank = draw(st.sampled_from([" ", " ", "  ", "\t", ",", ", ", ";", "\u00a0", "\x0b"]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", " \n", "\n\n", "\x1c"]))
    head = draw(st.sampled_from(["", "", "", "# comment\n", "bvals\n", "\ufeff", "\0"]))
    text = head + end.join(blank.join(row) for row in rows) + end
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8", "utf-16", "utf-32-be"]))
    return text.encode(encoding, "surrogatepass")
