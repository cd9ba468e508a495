"""The memory that steps share, and what is said of steps that need more than there is."""

import logging

from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import ResourcesConfig

from .plugin import readable_name

LOGGER = logging.getLogger(__name__)
#: What the program itself holds, and the server that steps' processes are forked from.
PROGRAM_GB = 0.6
_LEAST_GB = 0.5
_DEFAULT_GB = 8.0


def steps_gb(resources: ResourcesConfig) -> float:
    """Give the memory that is left for steps, GB: of ``--mem``, what the program does not hold."""
    return max((resources.mem or _DEFAULT_GB) - PROGRAM_GB, _LEAST_GB)


def tell_large_steps(workflow: LiterateWorkflow, resources: ResourcesConfig) -> list[str]:
    """Say before anything runs which steps declare more memory than there is.

    Each of them runs alone, because it may need less; if it does not, the system ends it, and the
    run says so.

    Returns
    -------
    list of str
        Full names of these steps, the largest first.
    """
    given_gb = steps_gb(resources)
    nodes = [node for node in workflow._get_all_nodes() if node.mem_gb > given_gb]
    nodes.sort(key=lambda node: -node.mem_gb)
    if not nodes:
        return []
    count = "1 step declares" if len(nodes) == 1 else f"{len(nodes)} steps declare"
    LOGGER.warning(
        "%s more memory than the %.1f GB that --mem %g leaves for steps, the largest is %s with "
        "%.1f GB. They run one at a time, and the system may end them. Give --mem more if there "
        "is more, or less to do: a coarser --output-resolution, a smaller --shd-preset.",
        count,
        given_gb,
        resources.mem or _DEFAULT_GB,
        readable_name(nodes[0].fullname),
        nodes[0].mem_gb,
    )
    return [node.fullname for node in nodes]
