"""Which device computes, in which precision, and what is said when its memory runs out."""

import re
from contextlib import suppress

import torch

from shd_bids.errors import DeviceError

_AMX_FLAG = "amx_bf16"
_ASKED = re.compile(r"Tried to allocate ([\d.]+ \w+)")


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cuda`` or ``cpu`` into a device; never falls back in silence.

    Raises
    ------
    DeviceError
        If CUDA was asked for and cannot be used.
    """
    if name == "cpu":
        return torch.device("cpu")
    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise DeviceError(
            "--device cuda was asked for, but PyTorch "
            f"{torch.__version__} finds no usable card. Check nvidia-smi, start the container "
            "with --gpus all (Docker) or --nv (Apptainer), or use --device cpu."
        )
    return torch.device("cuda" if usable else "cpu")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn ``auto``, ``float32`` or ``bfloat16`` into the precision of the U-Net.

    ``auto`` takes bfloat16 where the hardware multiplies it natively.
    """
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(_AMX_FLAG, False))


def describe_device(device: torch.device) -> str:
    """Name the device for the log."""
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"{properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    )


def out_of_memory(device: torch.device, task: str, error: BaseException | None) -> DeviceError:
    """Make the error for what cannot be made smaller and still does not fit on a card.

    Parameters
    ----------
    device
        The card.
    task
        What it ran out of memory with.
    error
        What PyTorch said, from which what is needed is taken.
    """
    asked = _ASKED.search(str(error))
    needed = f" {asked[1]} more were needed at once." if asked else ""
    free = ""
    with suppress(RuntimeError, ValueError, AssertionError):  # of a card that answers no more
        n_free, n_total = torch.cuda.mem_get_info(device)
        free = f": {n_free / 2**30:.1f} of {n_total / 2**30:.1f} GiB are free"
    return DeviceError(
        f"The card ran out of memory with {task}{free}.{needed} Use --shd-preset fast or --device "
        "cpu, or end other jobs on the card."
    )
