"""Many scans, of which a few blocks at a time are in memory: what one network is trained on.

A study of a thousand scans does not fit in memory, and its start would take days. So the scans are
visited in turn: a visit reads one scan, keeps some blocks of it, finds their start and is trained
on, beside the visits before it, until later ones have taken its place. Which blocks a visit keeps
depends on its number alone, so that an interrupted training goes on as if it had not been.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from shd_bids.dwi.images import load_dwi, open_image, read_data
from shd_bids.errors import MaskError, ShdBidsError, TrainingError

from .forward import build_signal_model
from .inputs import ScanFiles, read_acquisition, read_responses
from .network import ShdNetwork
from .patches import MaskedScan, Patch, PatchSampler, TrainingBlock, crop_to_mask
from .physics import Physics, hide_directions
from .presets import Preset

LOGGER = logging.getLogger(__name__)

EDGE = 16  # voxels along each side of a block
MARGIN = 1  # voxels around it, whose start is found as well: it looks at the next voxel
_BLOCKS = 2  # of a visit
_RESIDENT = 8  # visits that are trained on at a time
_LONGEST_STAY = 32  # steps between two visits, at most
_AHEAD = 3  # visits that are read in advance


@dataclass(frozen=True)
class CutBlock:
    """A block as it was read, and how much of each side is margin."""

    dwi: Float[np.ndarray, "x y z volume"]
    mask: Bool[np.ndarray, "x y z"]
    margin: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CutScan:
    """Blocks of one scan, and the physics of its views."""

    blocks: tuple[CutBlock, ...]
    views: tuple[Physics, ...]
    scale: float

    def prepare(self, device: torch.device) -> list[TrainingBlock]:
        """Put the blocks on a device and solve for their start."""
        views = [view.to(device) for view in self.views]
        return [_prepare(block, views, self.scale) for block in self.blocks]


@dataclass(frozen=True)
class ScanReader:
    """Reads blocks of scans for a network.

    Attributes
    ----------
    network
        That is given them.
    preset
        How much of a scan is hidden from it.
    b0_threshold, shell_tolerance
        Of the shells, s/mm².
    random_seed
        Of the choice of blocks and of what is hidden.
    """

    network: ShdNetwork
    preset: Preset
    b0_threshold: float
    shell_tolerance: float
    random_seed: int

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.to_sh.device

    def read(self, files: ScanFiles, visit: int | str, n_block: int = _BLOCKS) -> CutScan:
        """Read a scan and cut blocks around random voxels of its mask.

        Parameters
        ----------
        files
            Of the scan.
        visit
            Decides, with the seed, which blocks are cut and which directions are hidden.
        n_block
            Blocks to cut, which may overlap.

        Raises
        ------
        ShdBidsError
            If a file of the scan cannot be used.
        """
        generator = torch.Generator().manual_seed(_seed(self.random_seed, visit))
        gradients, shells = read_acquisition(files, self.b0_threshold, self.shell_tolerance)
        lmax, settings = self.network.lmax, self.network.settings
        model = build_signal_model(gradients, shells, read_responses(files, shells), lmax)
        hidden = hide_directions(
            model.shell_index,
            self.preset.hidden_parts,
            self.preset.hidden_views,
            generator,
            self.preset.shown_directions,
        )
        image = load_dwi(files.dwi_file)
        mask = read_data(open_image(files.mask_file), files.mask_file) > 0
        if mask.shape != image.shape[:3]:
            raise MaskError(
                f"{files.mask_file} has the shape {mask.shape}, but {files.dwi_file} "
                f"{image.shape[:3]}. Give the mask of this series."
            )
        axes_ras = image.affine[:3, :3] if settings.spatial else None
        shown = [*hidden] or [np.ones(len(model.kernel), dtype=bool)]
        views = [Physics(model, settings.n_side, axes_ras, seen) for seen in shown]
        dwi = np.asarray(image.dataobj)
        blocks = _cut_blocks(dwi, mask, n_block, generator, files.mask_file)
        return CutScan(tuple(blocks), tuple(views), model.scale)


class FixedPool:
    """The same scans at each step.

    Parameters
    ----------
    scans
        Each is drawn from as often as it has voxels.
    """

    def __init__(self, scans: Sequence[MaskedScan]) -> None:
        self.scans = scans

    def at(self, step: int) -> Sequence[MaskedScan]:
        """Give the scans."""
        return self.scans

    @property
    def identity(self) -> list[str]:
        """Tells these data from others: a thousand voxels of each scan."""
        kept = (scan.dwi[:: len(scan.dwi) // 1000 + 1] for scan in self.scans)
        return [digest(part.cpu().numpy().tobytes()) for part in kept]

    @property
    def amount(self) -> int:
        """How much these data count beside those of another process: voxels."""
        return sum(int(scan.mask.sum()) for scan in self.scans)


class ScanStream:
    """Visits many scans in turn, each as often as the others.

    Parameters
    ----------
    scans
        Of this process.
    reader
        Reads them.
    n_step
        Steps of the whole training, in which each scan is visited once at least if the steps
        suffice.
    others
        Scans of the other processes, one of which is visited where none of these can be used.

    Attributes
    ----------
    failed
        Why scans that could not be used were left out, by their place among `scans` and `others`.
    """

    def __init__(
        self,
        scans: Sequence[ScanFiles],
        reader: ScanReader,
        n_step: int,
        others: Sequence[ScanFiles] = (),
    ) -> None:
        self.scans = scans
        self._all = [*scans, *others]
        self.reader = reader
        self.stay = max(1, min(_LONGEST_STAY, n_step // len(scans)))
        self.failed: dict[int, str] = {}
        self._visits: dict[int, list[TrainingBlock]] = {}
        self._reading: dict[int, Future[CutScan]] = {}
        self._readers = ThreadPoolExecutor(_AHEAD)
        self._present: Sequence[MaskedScan] = []
        self._first = -1

    def at(self, step: int) -> Sequence[MaskedScan]:
        """Give the blocks that are trained on at a step.

        Raises
        ------
        TrainingError
            If none of the scans can be used.
        """
        first = step // self.stay
        if first != self._first:
            wanted = range(first, first + _RESIDENT)
            for number in range(first, first + _RESIDENT + _AHEAD):
                if number not in self._visits and number not in self._reading:
                    self._reading[number] = self._readers.submit(self._read, number)
            self._visits = {
                number: self._visits[number] if number in self._visits else self._prepare(number)
                for number in wanted
            }
            present = [block for blocks in self._visits.values() for block in blocks]
            self._present = present or self._substitute(first)
            self._first = first
        return self._present

    def close(self) -> None:
        """Stop reading ahead."""
        self._readers.shutdown(cancel_futures=True)

    def place(self, visit: int) -> int:
        """Give which scan a visit is of: all of them, in another order each time round."""
        turn, number = divmod(visit, len(self.scans))
        generator = torch.Generator().manual_seed(_seed(self.reader.random_seed, f"turn {turn}"))
        return int(torch.randperm(len(self.scans), generator=generator)[number])

    def _read(self, visit: int) -> CutScan:
        return self.reader.read(self.scans[self.place(visit)], visit)

    def _prepare(self, visit: int) -> list[TrainingBlock]:
        """Wait for the blocks of a visit; a scan that cannot be read gives none."""
        return self._try(self.place(visit), self._reading.pop(visit).result)

    def _try(self, place: int, read: Callable[[], CutScan]) -> list[TrainingBlock]:
        try:
            cut = read()
        except ShdBidsError as error:
            if place not in self.failed:
                LOGGER.error("%s is left out: %s", self._all[place].dwi_file, error)
            self.failed[place] = str(error)
            return []
        return cut.prepare(self.reader.device)

    def _substitute(self, first: int) -> list[TrainingBlock]:
        """Visit the next scan that can be used, where all that would be trained on cannot."""
        for number in range(first, first + len(self._all)):
            place = number % len(self._all)
            if place in self.failed:
                continue
            read = partial(self.reader.read, self._all[place], f"substitute {first}")
            if blocks := self._try(place, read):
                return blocks
        reasons = " ".join(dict.fromkeys(self.failed.values()))
        raise TrainingError(f"None of {len(self._all)} scans could be used. {reasons}")

    @property
    def identity(self) -> list[str]:
        """Tells these data from others: names, sizes and times of the files."""
        stamps = [
            f"{file}:{file.stat().st_size}:{file.stat().st_mtime_ns}"
            for scan in self.scans
            for file in (
                scan.dwi_file,
                scan.gradients_file,
                scan.mask_file,
                *scan.responses.values(),
            )
            if file.is_file()
        ]
        return [digest("\n".join([*stamps, str(self.reader.random_seed)]).encode())]

    @property
    def amount(self) -> int:
        """How much these data count beside those of another process: scans of any size."""
        return len(self.scans)


class MovingSampler:
    """Draws patches from what a pool holds at each step.

    Parameters
    ----------
    pool
        Where from; it gives the same object as long as what it holds does not change.
    patch
        Edge of a cube in voxels.
    generator
        Source of the draws, on the CPU.
    """

    def __init__(
        self, pool: FixedPool | ScanStream, patch: int, generator: torch.Generator
    ) -> None:
        self.pool = pool
        self.patch = patch
        self.generator = generator
        self._sampler: PatchSampler | None = None

    def draw(self, step: int, n_patch: int) -> Patch:
        """Draw the patches of a step."""
        scans = self.pool.at(step)
        if self._sampler is None or self._sampler.scans is not scans:
            self._sampler = PatchSampler(scans, self.patch, self.generator)
        return self._sampler.draw(n_patch)


def digest(content: bytes) -> str:
    """Tell one content from another."""
    return hashlib.sha256(content).hexdigest()


def _seed(random_seed: int, use: int | str) -> int:
    return int(digest(f"{random_seed} {use}".encode())[:15], 16)


def _cut_blocks(
    dwi: Float[np.ndarray, "x y z volume"],
    mask: Bool[np.ndarray, "x y z"],
    n_block: int,
    generator: torch.Generator,
    mask_file: Path,
) -> list[CutBlock]:
    """Cut blocks around random voxels of the mask, inside the image, with their margins."""
    centres = np.argwhere(mask)
    if len(centres) == 0:
        raise MaskError(f"{mask_file} is empty, so there is nothing to train on.")
    chosen = torch.randint(len(centres), (n_block,), generator=generator).numpy()
    blocks = []
    for centre in centres[chosen]:
        box, margin = [], []
        for middle, size in zip(centre.tolist(), mask.shape, strict=True):
            low = min(max(middle - EDGE // 2, 0), max(size - EDGE, 0))
            high = min(low + EDGE, size)
            outer = max(low - MARGIN, 0), min(high + MARGIN, size)
            box.append(slice(*outer))
            margin.append((low - outer[0], outer[1] - high))
        place = tuple(box)
        blocks.append(CutBlock(dwi[place].copy(), mask[place].copy(), tuple(margin)))
    return blocks


def _prepare(block: CutBlock, views: Sequence[Physics], scale: float) -> TrainingBlock:
    """Solve for the start of a block; what the crop to the mask takes off is margin first."""
    corners = np.argwhere(block.mask)
    taken = zip(corners.min(axis=0), block.mask.shape - corners.max(axis=0) - 1, strict=True)
    scan = crop_to_mask(block.dwi, block.mask, scale, views)
    margin = tuple(
        (max(low - int(before), 0), max(high - int(after), 0))
        for (low, high), (before, after) in zip(block.margin, taken, strict=True)
    )
    return TrainingBlock(scan.dwi, scan.row, scan.views, margin)
