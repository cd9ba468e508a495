"""JSON objects at the border: read from files that anybody may have written."""

import json
import math
from pathlib import Path
from typing import Any

from shd_bids.errors import BidsDataError

_DEEPEST = 50
_LONGEST_INT = 18  # digits; larger numbers become floats


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON object, with a byte order mark or without.

    Numbers that are not finite, which JSON does not have and many programs write, become None;
    characters that cannot be written again are replaced.

    Parameters
    ----------
    file
        Text in UTF-8.

    Returns
    -------
    dict[str, Any]
        Its fields; of a key that stands there twice, the last.

    Raises
    ------
    BidsDataError
        If the file cannot be read, is no JSON or holds something else than an object.
    """
    try:
        content = json.loads(
            file.read_text(encoding="utf-8-sig"),
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=lambda digits: (
                int(digits) if len(digits) <= _LONGEST_INT else _finite(digits)
            ),
        )
        content = _writable(content, depth=0)
    except OSError as error:
        raise BidsDataError(f"{file} cannot be read: {error.strerror or error}.") from error
    except RecursionError as error:
        raise BidsDataError(
            f"{file} is not JSON that can be read: it is nested more than {_DEEPEST} times deep; "
            "expected an object of plain fields. Write it again."
        ) from error
    except ValueError as error:
        raise BidsDataError(
            f"{file} is not JSON: {str(error)[:200]}. Expected an object of fields in UTF-8; "
            "correct it or write it again."
        ) from error
    if not isinstance(content, dict):
        found = {list: "a list", str: "a text", type(None): "null"}.get(type(content), "a number")
        raise BidsDataError(f"{file} holds {found}; expected a JSON object, as in {{...}}.")
    return content


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _writable(value: Any, depth: int) -> Any:
    """Replace lone surrogates, which JSON may hold and no file can."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_writable(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {_writable(key, depth): _writable(one, depth + 1) for key, one in value.items()}
    return value
