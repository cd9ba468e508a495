"""What one must know to use a study's network: its model card, in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from .fragments import duration

_TERMS = ("total", "start", "reconstruction", "non_negativity", "sparsity", "total_variation")


def write_model_card(fields: Mapping[str, Any]) -> str:
    """Write the model card of a network that was trained on a study.

    Parameters
    ----------
    fields
        Of its sidecar: those of `model_sidecar` with ``Settings`` as in the fit's summary, and
        ``Responses``, ``Training`` and ``Losses``.

    Returns
    -------
    str
        Markdown, with the front matter that model hubs read.
    """
    settings, losses = fields["Settings"], fields["Losses"]
    used = [loss for loss in losses if "failed" not in loss]
    bvals = ", ".join(f"{bval:.0f}" for bval in fields["BValues"])
    tissues = ", ".join(fields["Tissues"])
    steps = settings["network"]["steps"]
    facts = {
        "Model": f"{settings['model']}: {fields['Model']['Description']} "
        f"(<{fields['Model']['URL']}>)",
        "Trained on": f"{len(used)} of {len(losses)} series, without labels",
        "Shells": f"b = {bvals} s/mm²",
        "Tissues": tissues,
        "Largest harmonic degree": settings["lmax"],
        "Preset": settings["preset"],
        "Weights (parameters)": settings["n_parameter"],
        "Steps": steps,
        "Time to train": duration(settings["training_seconds"]),
        "Computed on": f"{settings['device']}, {settings['precision']}, "
        f"{settings['n_process']} process(es)",
        "Random seed": settings["random_seed"],
        "Written by": fields["SoftwareVersion"],
    }
    network = {key: value for key, value in settings["network"].items() if value is not None}
    return "\n".join(
        [
            "---",
            "library_name: shd-bids",
            "tags: [diffusion-mri, spherical-deconvolution, equivariant]",
            "---",
            "",
            "# Fibre orientations for a study: one network",
            "",
            *_table(("what", "value"), facts.items()),
            "",
            "## Use",
            "",
            "For scans with these shells, whose directions may differ, and with the responses that "
            "lie beside it:",
            "",
            "```",
            "shd-bids BIDS_DIR OUTPUT_DIR participant --response GROUP_DIR --weights GROUP_DIR",
            "```",
            "",
            "Responses are brought to the brightness of each scan. Scans of another scanner or "
            "protocol want a network and responses of their own: this one was never shown a scan "
            "from outside of its study, and no fibre orientation was known for any.",
            "",
            "## Data",
            "",
            *_say_data(losses),
            "",
            "## Loss of each series",
            "",
            "Mean terms in a block of each series that was drawn after training, on directions "
            "that the network does not see; *start* is the total without training. A series whose "
            "total is not below its start is not served by this network.",
            "",
            *_table(
                ("series", "voxels", *_present(used)),
                [
                    (loss["series"], loss["n_voxel"], *(f"{loss[t]:.3g}" for t in _present(used)))
                    for loss in used
                ],
            ),
            "",
            "## Settings",
            "",
            *_table(("setting", "value"), network.items()),
            "",
            *_table(("term of the loss", "weight"), fields["Training"]["weights"].items()),
            "",
        ]
    )


def _say_data(losses: Sequence[Mapping[str, Any]]) -> list[str]:
    used = [loss for loss in losses if "failed" not in loss]
    lines = []
    if used:
        gains = [1 - loss["total"] / loss["start"] for loss in used if loss["start"] > 0]
        n_worse = sum(loss["total"] >= loss["start"] for loss in used)
        gain = 100 * median(gains) if gains else 0.0
        lines.append(
            f"- {len(used)} series; training {'lowered' if gain >= 0 else 'raised'} the loss by "
            f"{abs(gain):.0f} % at the median; in {n_worse} it did not lower it."
        )
    lines += [
        f"- {loss['series']} was left out: {loss['failed']}" for loss in losses if "failed" in loss
    ]
    return lines


def _present(used: Sequence[Mapping[str, Any]]) -> list[str]:
    return [term for term in _TERMS if used and term in used[0]]


def _table(head: Sequence[str], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows),
    ]
