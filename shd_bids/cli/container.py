"""The container that the program runs in, as it is told by the environment."""

import os
from collections.abc import Mapping

_IMAGE_FILE = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")


def find_container(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Name the container, for ``GeneratedBy`` of the output dataset.

    Parameters
    ----------
    environment
        Our image sets ``SHD_BIDS_DOCKER_TAG``, as fMRIPrep's sets its own; whoever builds a
        Singularity image may set ``SHD_BIDS_SINGULARITY_URL``. Apptainer and Singularity name the
        image that they run.

    Returns
    -------
    dict[str, str] or None
        ``Type``, and ``Tag`` and ``URI`` as far as they are known; None outside of a container,
        or in one that tells nothing.

    Examples
    --------
    >>> find_container({"SHD_BIDS_DOCKER_TAG": "shd-bids/shd-bids:1.0.0"})
    {'Type': 'docker', 'Tag': 'shd-bids/shd-bids:1.0.0'}
    >>> find_container({"SINGULARITY_CONTAINER": "/images/shd-bids.sif"})
    {'Type': 'singularity', 'URI': 'file:///images/shd-bids.sif'}
    >>> find_container({}) is None
    True
    """
    tag, url = environment.get("SHD_BIDS_DOCKER_TAG"), environment.get("SHD_BIDS_SINGULARITY_URL")
    running = next((name for name in _IMAGE_FILE if environment.get(name)), None)
    if not (tag or url or running):
        return None
    container = {"Type": "docker" if not (running or url) else "singularity"}
    if tag:
        container["Tag"] = tag
    if running and not url:
        file = environment[running]
        url = f"file://{file}" if file.startswith("/") else file
    if url:
        container["URI"] = url
    return container
