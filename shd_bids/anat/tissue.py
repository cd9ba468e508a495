"""White matter, grey matter and fluid: of a T1w image, or of labels that others gave them."""

from collections.abc import Mapping

import numpy as np
from dipy.segment.tissue import TissueClassifierHMRF
from jaxtyping import Bool, Float, Num
from scipy import ndimage

from shd_bids.errors import AnatomyError

#: The order of the maps.
TISSUES = ("WM", "GM", "CSF")

_SMOOTHING = 0.1  # weight of the neighbours
_MAX_ITERATIONS = 30
_TOLERANCE = 1e-4
_CLIP_PERCENTILES = (0.5, 99.8)


def segment_tissue(
    t1w: Float[np.ndarray, "x y z"], mask: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z 3"]:
    """Give the probability of each tissue.

    DIPY's classifier after Zhang, Brady and Smith (IEEE Trans. Med. Imaging 20, 2001): three
    classes, which the mean intensity of a T1w image puts in order.

    Parameters
    ----------
    t1w
        Free of bias.
    mask
        Of the brain.

    Returns
    -------
    Float[np.ndarray, "x y z 3"]
        White matter, grey matter, fluid; they sum to 1 in the mask and are 0 outside.

    Raises
    ------
    AnatomyError
        If the image shows fewer than three classes.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box or float(np.ptp(t1w[mask])) == 0.0:
        raise AnatomyError(
            "The T1w image shows no contrast within its brain mask; expected white matter, grey "
            "matter and fluid. Check the image and the mask."
        )
    inside = mask[box[0]]
    low, high = np.percentile(t1w[mask], _CLIP_PERCENTILES)
    scaled = np.clip((t1w[box[0]] - low) / max(high - low, 1e-9), 0.0, 1.0)
    # The classifier would put noise where there is 0, each time another.
    background = np.random.default_rng(0).normal(0.001, 1e-4, scaled.shape)
    image = np.where(inside, 0.02 + 0.98 * scaled, background)
    classifier = TissueClassifierHMRF(verbose=False)
    *_, classes = classifier.classify(
        image, len(TISSUES), _SMOOTHING, tolerance=_TOLERANCE, max_iter=_MAX_ITERATIONS
    )
    found = np.nan_to_num(classes[inside])  # (voxel, class), the darkest first
    total = found.sum(axis=1, keepdims=True)
    weights = found.sum(axis=0)
    if not np.all(weights > 0):
        raise AnatomyError(
            "The T1w image shows fewer than three classes of intensity within its brain mask; "
            "expected white matter, grey matter and fluid. Is it a T1-weighted image?"
        )
    means = (image[inside] @ found) / weights
    maps = np.zeros((*t1w.shape, len(TISSUES)), dtype=np.float32)
    nearest = np.eye(len(TISSUES))[np.abs(image[inside][:, None] - means).argmin(axis=1)]
    shares = np.where(total > 0, found / np.maximum(total, 1e-12), nearest)
    maps[mask] = shares[:, np.argsort(-means)]
    return maps


def tissue_of_labels(
    labels: Num[np.ndarray, "x y z"], numbers: Mapping[str, int], *, source: str
) -> Float[np.ndarray, "x y z 3"]:
    """Turn a segmentation into one map a tissue: 1 where its label is, 0 elsewhere.

    Parameters
    ----------
    labels
        Whole numbers; those of no tissue are passed over.
    numbers
        Label of each of `TISSUES`.
    source
        Name of the file, for the message.

    Returns
    -------
    Float[np.ndarray, "x y z 3"]
        White matter, grey matter, fluid.

    Raises
    ------
    AnatomyError
        If a tissue has no voxel.

    Examples
    --------
    >>> labels = np.array([[[1, 3, 2, 0]]])
    >>> maps = tissue_of_labels(labels, {"WM": 3, "GM": 2, "CSF": 1}, source="dseg")
    >>> maps[0, 0, :2].tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    maps = np.stack([labels == numbers[tissue] for tissue in TISSUES], axis=3)
    if not maps.any(axis=(0, 1, 2)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(labels)[:10])
        expected = ", ".join(f"{numbers[tissue]} ({tissue})" for tissue in TISSUES)
        raise AnatomyError(
            f"{source} holds the labels {found}; expected {expected}. To go on without a tissue "
            "map use --skip-anat."
        )
    return maps.astype(np.float32)
