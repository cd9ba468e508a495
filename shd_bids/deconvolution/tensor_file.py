"""What can be told of a safetensors file without torch: whether it is whole, and what it is of.

The head of such a file is JSON behind its length; the tensors follow. A digest of both, which is
kept with the other text of the head, tells bits that have changed on the disk.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from shd_bids.errors import DamagedFileError, WeightsError

DIGEST = "digest"
_TEXT = "__metadata__"
_START = 8  # bytes of the head's length


def tensor_digest(content: bytes) -> str:
    """Give the SHA-256 of the tensors and of all that the head says but for this digest."""
    end = _START + int.from_bytes(content[:_START], "little")
    head: dict[str, Any] = json.loads(content[_START:end])
    text = {name: value for name, value in head.pop(_TEXT, {}).items() if name != DIGEST}
    told = json.dumps([head, text], sort_keys=True)
    return hashlib.sha256(told.encode() + content[end:]).hexdigest()


def read_text(file: Path) -> dict[str, str]:
    """Read the text of a file of tensors, having made sure that it is whole.

    Raises
    ------
    DamagedFileError
        If the file is truncated, changed, or no safetensors file.
    WeightsError
        If it cannot be opened.
    """
    try:
        with safe_open(file, framework="numpy") as content:  # checks the lengths of everything
            text: dict[str, str] = content.metadata() or {}
        if DIGEST in text and text[DIGEST] != tensor_digest(file.read_bytes()):
            raise DamagedFileError(
                f"{file} is damaged: its content differs from the checksum that it was written "
                "with. Give another copy."
            )
        return text
    except SafetensorError as error:
        raise DamagedFileError(
            f"{file} cannot be read as a safetensors file ({error}). Give the file that shd-bids "
            "wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{file} cannot be read as a safetensors file ({error}). Give the file that shd-bids "
            "wrote."
        ) from error


def check_numbers(file: Path) -> None:
    """Make sure that the tensors of a file hold numbers only.

    Raises
    ------
    WeightsError
        With the first tensor that holds others, or is none of a network's.
    """
    with safe_open(file, framework="numpy") as content:
        for name in content.keys():  # noqa: SIM118  # not a dict
            try:
                is_finite = np.isfinite(content.get_tensor(name)).all()
            except (TypeError, ValueError, SafetensorError) as error:
                raise WeightsError(f"{file}: the tensor {name} cannot be read: {error}.") from error
            if not is_finite:
                raise WeightsError(
                    f"{file} holds values that are NaN or infinite (in {name}): the training that "
                    "wrote it went wrong. Give other weights."
                )


def list_differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Say in which settings weights differ from the network that they are to be loaded into."""
    return [
        f"{key} is {found.get(key, 'missing')}, needed {value}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
