"""What the machine allows: cores, memory and graphics cards, also inside a container.

Nothing here imports torch: the parent process must stay free of CUDA.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shd_bids.config import ResourcesConfig, RunConfig
from shd_bids.errors import ConfigError, DeviceError

from .limits import Allowed, allowed_cores, allowed_memory_gb
from .weights import read_preset

_SHARE = 0.9  # of the memory that is allowed: some is left for the page cache and for others
_GPU_CHECK = """
import json, torch
if torch.version.cuda is None:
    raise SystemExit(f"PyTorch {torch.__version__} was built without CUDA")
if not torch.cuda.is_available():
    raise SystemExit(f"PyTorch {torch.__version__} finds no usable card")
torch.zeros(8, device="cuda").sum().item()
card = torch.cuda.get_device_properties(0)
print(json.dumps({
    "count": torch.cuda.device_count(), "name": card.name, "cuda": torch.version.cuda,
    "capability": f"{card.major}.{card.minor}", "memory_gb": card.total_memory / 1e9,
}))
"""


@dataclass(frozen=True)
class Cards:
    """The graphics cards that PyTorch can use.

    Attributes
    ----------
    count
        How many.
    name
        Of the first; without cards, why there are none.
    facts
        Card, CUDA and driver by name, for the page.
    """

    count: int
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


def check_gpu() -> Cards:
    """Ask PyTorch, in a short child process, which cards it can use."""
    done = subprocess.run(
        [sys.executable, "-c", _GPU_CHECK], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return _read_cards(done.stdout.strip().splitlines()[-1], _driver_version())
    reason = done.stderr.strip().splitlines() or [f"the check ended with code {done.returncode}"]
    return Cards(0, reason[-1])


def _read_cards(said: str, driver: str) -> Cards:
    """Understand what the check printed.

    Examples
    --------
    >>> said = '{"count": 2, "name": "H200", "cuda": "12.8", "capability": "9.0", "memory_gb": 150}'
    >>> _read_cards(said, "570.1").facts["GPU"]
    '2 x H200, compute capability 9.0, 150 GB'
    """
    found = json.loads(said)
    card = f"{found['name']}, compute capability {found['capability']}, {found['memory_gb']:.0f} GB"
    facts = {"GPU": f"{found['count']} x {card}", "CUDA": found["cuda"], "NVIDIA driver": driver}
    return Cards(found["count"], found["name"], facts)


def _driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "not known"
    return next(iter(done.stdout.split()), "not known")


@dataclass(frozen=True)
class Machine:
    """What was chosen of the machine."""

    sentence: str
    gpus: tuple[str, ...]  # ids, as CUDA_VISIBLE_DEVICES takes them
    gpu_facts: Mapping[str, str] = field(default_factory=dict)  # card, CUDA, driver; if one is used


def resolve_resources(config: RunConfig) -> tuple[RunConfig, Machine]:
    """Replace what was left to the machine by numbers and a device.

    Parameters
    ----------
    config
        As given by the user.

    Returns
    -------
    tuple
        The configuration with cores, threads, memory, cards, device and preset set, and what was
        chosen.

    Raises
    ------
    DeviceError
        When `--device cuda` was asked for and PyTorch finds no usable card.
    ConfigError
        When one step is to use more threads than there are processors, or Slurm is to be used and
        is not there.
    """
    resources, deconv = config.resources, config.deconv
    cores, memory_gb = allowed_cores(), allowed_memory_gb()
    plugin = config.execution.plugin
    nprocs = resources.nprocs or plugin.arguments.get("n_procs") or int(cores.amount)
    threads = resources.omp_nthreads or min(nprocs, 8)
    if threads > nprocs:
        raise ConfigError(
            f"--omp-nthreads is {threads}, more than --nprocs {nprocs}; one step cannot use more "
            "threads than there are processors."
        )
    mem = (
        resources.mem
        or float(plugin.arguments.get("memory_gb", 0))
        or round(_SHARE * memory_gb.amount, 1)
    )
    cards = Cards(0, "it was not asked for")
    if deconv.device != "cpu" and resources.gpus != 0:
        cards = check_gpu() if _may_have_gpu() else Cards(0, "no NVIDIA driver is visible")
    if plugin.is_cluster and deconv.device == "cuda":  # only the job can see its cards
        cards = Cards(resources.gpus or 1, "of the cluster")
    if plugin.is_cluster:
        _check_slurm()
    n_gpu, gpu_name = cards.count, cards.name
    if deconv.device == "cuda" and n_gpu == 0:
        raise DeviceError(
            f"--device cuda was asked for, but {gpu_name}. Check `nvidia-smi`, the container's GPU "
            "flag (--gpus all, --nv), --gpus and CUDA_VISIBLE_DEVICES, or give --device cpu."
        )
    if resources.gpus is not None and resources.gpus > n_gpu and deconv.device != "cpu":
        raise DeviceError(
            f"--gpus is {resources.gpus}, but {n_gpu} usable card(s) were found ({gpu_name})."
        )
    n_gpu = n_gpu if resources.gpus is None else min(n_gpu, resources.gpus)
    device = "cuda" if n_gpu else "cpu"
    trained_with = read_preset(deconv.weights) if deconv.weights else None
    preset = deconv.shd_preset or trained_with or ("standard" if n_gpu else "fast")
    sentence = (
        f"Using {nprocs} core(s), {threads} thread(s) a step, {mem:.1f} GB and "
        + (f"{n_gpu} GPU(s) ({gpu_name})" if n_gpu else f"no GPU ({gpu_name})")
        + f"; preset {preset}."
        + _say_limits(resources, cores, memory_gb)
    )
    resolved = replace(
        config,
        resources=replace(resources, nprocs=nprocs, omp_nthreads=threads, mem=mem, gpus=n_gpu),
        deconv=replace(deconv, device=device, shd_preset=preset),
    )
    return resolved, Machine(sentence, _gpu_ids(n_gpu), cards.facts if n_gpu else {})


def _check_slurm() -> None:
    """Refuse to make jobs where Slurm's programs are not at hand, as in a container."""
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"--use-plugin asks for SLURM, but {', '.join(missing)} is not on PATH. Start shd-bids "
            "where jobs are submitted, installed without a container; or run one job per "
            "participant with the script that `shd-bids-slurm` prints."
        )


def _say_limits(given: ResourcesConfig, cores: Allowed, memory_gb: Allowed) -> str:
    """Say who limits the machine, and what was asked for beyond that."""
    said = ""
    for allowed, asked, flag, unit in (
        (cores, given.nprocs, "--nprocs", "core(s)"),
        (memory_gb, given.mem, "--mem", "GB"),
    ):
        source = allowed.source or "the machine"
        if asked is not None and asked > allowed.amount:
            said += (
                f" {flag} {asked:g} is more than the {allowed.amount:.3g} {unit} that {source} "
                "allows: steps may be slow or killed."
            )
        elif asked is None and allowed.source:
            said += f" Limited to {allowed.amount:.3g} {unit} by {source}."
    return said


def _may_have_gpu() -> bool:
    """Tell cheaply whether asking PyTorch is worth the seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidiactl").exists()


def _gpu_ids(n_gpu: int) -> tuple[str, ...]:
    """Name the cards to use, keeping to those that the scheduler gave."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    ids = given.split(",") if given else [str(number) for number in range(n_gpu)]
    return tuple(ids[:n_gpu])
