"""The gradient of the loss of a batch: over processes, and in parts that fit in the memory."""

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from .device import out_of_memory
from .losses import ShdLoss, count_pairs
from .network import ShdNetwork
from .parallel import Team
from .patches import Patch

LOGGER = logging.getLogger(__name__)


class BatchGradient:
    """Leaves the gradient of a batch in the network, whatever it is cut in.

    The processes of a team and the parts that a batch is cut in have the gradient of one batch of
    all their patches. Parts are halved, for good, when the card's memory does not suffice.

    Parameters
    ----------
    network, criterion
        On the same device.
    compute_dtype
        Precision of the U-Net.
    team
        Processes, each with a batch of the same size.
    weight
        Of this process; 1 on average.
    """

    def __init__(
        self,
        network: ShdNetwork,
        criterion: ShdLoss,
        compute_dtype: torch.dtype,
        team: Team,
        weight: float,
    ) -> None:
        self.network = network
        self.criterion = criterion
        self.compute_dtype = compute_dtype
        self.team = team
        self.weight = weight
        self.n_part = 1

    def __call__(self, patch: Patch) -> dict[str, Float[Tensor, ""]]:
        """Give the sum of each term over the voxels of this process, ``start`` and ``n_voxel``.

        Raises
        ------
        DeviceError
            If not even one patch fits in the memory of the card.
        """
        counts = torch.cat([count_pairs(patch.mask), patch.mask.sum().unsqueeze(0)])
        counts = self.team.add(counts)
        paired = counts[:3] / counts[3]
        n_patch = len(patch.mask)
        while True:
            try:
                sums = self._accumulate(patch, paired)
                break
            except torch.cuda.OutOfMemoryError as error:
                if self.n_part >= n_patch:
                    task = f"one patch of {patch.mask.shape[-1]} voxels"
                    raise out_of_memory(patch.mask.device, task, error) from error
            torch.cuda.empty_cache()
            self.n_part = min(2 * self.n_part, n_patch)
            LOGGER.warning(
                "The card ran out of memory; going on with %d parts of a batch, one after the "
                "other, which gives the same result more slowly.",
                self.n_part,
            )
        self.team.average_(
            weight.grad for weight in self.network.parameters() if weight.grad is not None
        )
        return sums

    def _accumulate(
        self, patch: Patch, paired: Float[Tensor, " 3"]
    ) -> dict[str, Float[Tensor, ""]]:
        self.network.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in patch.split(self.n_part):
            given = part.physics, part.dwi, part.start
            terms = self.criterion(self.network(*given, self.compute_dtype), part, paired)
            # A patch counts by its voxels: the few of one at the rim are not worth those of
            # another.
            n_voxel = part.mask.sum()
            share = self.weight * n_voxel / patch.mask.numel()
            (terms["total"] * share).backward()
            with torch.no_grad():
                initial = self.criterion(self.network.initial(*given), part, paired)
            means = terms | {"start": initial["total"], "n_voxel": torch.ones_like(share)}
            for name, value in means.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * n_voxel
        return sums
