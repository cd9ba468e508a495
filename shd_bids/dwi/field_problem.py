"""One level of the search for a field: what is minimised, and Gauss-Newton steps that do it.

Image k, read without its distortion, is ``C_k = a_k I_k(o_k) (1 + w_k du/dy)``: the second factor
is the Jacobian of the displacement u along the phase axis y, a_k matches intensities. Minimised is

    1/2 sum_k |C_k - mean C|^2 + 1/2 |K u|^2 + beta sum s^4 / (1 - s^2),   s = du/dy

The last term keeps every Jacobian positive (Burger, Modersitzki and Ruthotto, SIAM J. Sci. Comput.
35, 2013). K weighs bending and slope; cosines make it diagonal, which preconditions the linear
solver. Steps in motion are damped, since a field can mimic rotation.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.fft import dctn, idctn
from scipy.sparse.linalg import LinearOperator, cg
from scipy.spatial.transform import Rotation

from .field_images import EncodedImages, Lattice
from .transforms import VolumeTransforms

_BETA = 0.01
_STEEPEST = 0.99  # of du/dy
_CG_STEPS, _CG_TOLERANCE = 30, 1e-2
_HALVINGS = 6
_DAMPING = 0.1  # of steps in motion, over the images' curvature by it


@dataclass(frozen=True, eq=False)
class FieldState:
    """What is sought: displacement u in voxels, head positions, intensity scales."""

    displacement: Float[np.ndarray, "i j k"]
    transforms: VolumeTransforms
    scales: Float[np.ndarray, " image"]


@dataclass(frozen=True, eq=False)
class FieldProblem:
    """The images at one resolution.

    Attributes
    ----------
    images, lattice
        Smoothed images, and where they are compared.
    active
        Points of the lattice that can show signal in every image.
    stiffness
        Of each cosine: the penalty on bending.
    freedoms
        Of each image: columns are the translations and rotations that it may make.
    """

    images: EncodedImages
    lattice: Lattice
    active: Bool[np.ndarray, "i j k"]
    stiffness: Float[np.ndarray, "i j k"]
    freedoms: tuple[Float[np.ndarray, "6 _"], ...]

    def energy(self, state: FieldState) -> float:
        """Evaluate what is minimised; infinite where an image would fold."""
        stretches = self._stretches(state.displacement)
        barrier = 0.0
        for stretch in stretches.values():
            if np.abs(stretch).max() >= _STEEPEST:
                return np.inf
            square = stretch.astype(np.float64) ** 2
            barrier += float((square**2 / (1 - square)).sum())
        points, inside = self.lattice.points(self.active), state.displacement[self.active]
        corrected = []
        for image, axis in enumerate(self.images.axes):
            at = self.images.locate(image, state.transforms, points, inside)
            jacobian = 1 + self.images.weights[image] * stretches[axis][self.active]
            corrected.append(state.scales[image] * self.images.read(image, at) * jacobian)
        residual = np.stack(corrected) - np.mean(corrected, axis=0)
        bending = np.vdot(state.displacement, self._stiffen(state.displacement))
        return 0.5 * float((residual.astype(np.float64) ** 2).sum() + bending) + _BETA * barrier

    def improve(self, state: FieldState, energy: float) -> tuple[FieldState, float]:
        """Make a Gauss-Newton step, halved until the energy falls."""
        step = self._newton_step(state)
        for halving in range(_HALVINGS):
            moved = self._advance(state, step * np.float32(0.5**halving))
            lower = self.energy(moved)
            if lower < energy:
                return moved, lower
        return state, energy

    def _newton_step(self, state: FieldState) -> Float[np.ndarray, " unknown"]:
        model = _Linearised(self, state)
        n_point = state.displacement.size
        diagonal = model.mean_diagonal() + self.stiffness
        blocks = model.motion_blocks()

        def precondition(gradient: np.ndarray) -> np.ndarray:
            field = gradient[:n_point].reshape(diagonal.shape)
            smooth = idctn(dctn(field, norm="ortho") / diagonal, norm="ortho")
            return np.concatenate([smooth.ravel(), blocks @ gradient[n_point:]])

        size = (n_point + len(blocks),) * 2
        step, _ = cg(
            LinearOperator(size, model.curvature, dtype=np.float32),
            -model.gradient,
            rtol=_CG_TOLERANCE,
            maxiter=_CG_STEPS,
            M=LinearOperator(size, precondition, dtype=np.float32),
        )
        return step

    def _advance(self, state: FieldState, step: Float[np.ndarray, " unknown"]) -> FieldState:
        shape, n_point = state.displacement.shape, state.displacement.size
        translation = state.transforms.translation_mm.copy()
        rotation = state.transforms.rotation_rad.copy()
        scales, start = state.scales.copy(), n_point
        for image, freedom in enumerate(self.freedoms):
            n_freedom = freedom.shape[1]
            if n_freedom:
                moved = freedom @ step[start : start + n_freedom]
                turned = Rotation.from_rotvec(moved[3:]) * Rotation.from_euler(
                    "xyz", rotation[image]
                )
                translation[image] += moved[:3]
                rotation[image] = turned.as_euler("xyz")
                scales[image] *= np.exp(step[start + n_freedom])
                start += n_freedom + 1
        transforms = VolumeTransforms(translation, rotation, state.transforms.eddy)
        displacement = state.displacement + step[:n_point].reshape(shape)
        return FieldState(displacement, transforms, scales)

    def _stretches(self, displacement: np.ndarray) -> dict[int, np.ndarray]:
        return {
            axis: _slope(displacement, axis, self.lattice.stride[axis])
            for axis in set(self.images.axes)
        }

    def _stiffen(self, displacement: np.ndarray) -> np.ndarray:
        return idctn(self.stiffness * dctn(displacement, norm="ortho"), norm="ortho")


class _Linearised:
    """The images' differences, to first order in field, motion and the logarithm of scales."""

    def __init__(self, problem: FieldProblem, state: FieldState) -> None:
        self.problem, images = problem, problem.images
        self.shape, self.axes = state.displacement.shape, images.axes
        self.stretches = problem._stretches(state.displacement)
        points = problem.lattice.points(problem.active)
        inside = state.displacement[problem.active]
        by_value, by_slope, corrected = [], [], []
        self.motion: dict[int, np.ndarray] = {}
        for image, (axis, weight) in enumerate(zip(images.axes, images.weights, strict=True)):
            at = images.locate(image, state.transforms, points, inside)
            scale = np.float32(state.scales[image])
            jacobian = 1 + np.float32(weight) * self.stretches[axis][problem.active]
            by_slope.append(np.float32(weight) * scale * images.read(image, at))
            by_value.append(np.float32(weight) * scale * jacobian * images.slope(image, at, axis))
            corrected.append(by_slope[-1] / np.float32(weight) * jacobian)
            freedom = problem.freedoms[image]
            if freedom.shape[1]:
                slopes = images.motion_slopes(image, state.transforms, points, inside)
                moved = freedom.T.astype(np.float32) @ (scale * jacobian * slopes)
                self.motion[image] = np.concatenate([moved, corrected[-1][None]])
        damped = [_DAMPING * (columns**2).sum(axis=1) for columns in self.motion.values()]
        self.damping = np.concatenate([*damped, np.zeros(0, np.float32)])
        self.by_value, self.by_slope = np.stack(by_value), np.stack(by_slope)
        slope_of_barrier = {
            axis: _BETA * (4 * s**3 - 2 * s**5) / (1 - s**2) ** 2
            for axis, s in self.stretches.items()
        }
        self.barrier = {
            axis: _BETA * 2 * s**2 * (s**4 - 3 * s**2 + 6) / (1 - s**2) ** 3
            for axis, s in self.stretches.items()
        }
        field, motion = self._transposed(np.stack(corrected) - np.mean(corrected, axis=0))
        field += problem._stiffen(state.displacement)
        for axis, slope in slope_of_barrier.items():
            field += _slope_transposed(slope, axis, problem.lattice.stride[axis])
        self.gradient = np.concatenate([field.ravel(), motion])

    def curvature(self, step: Float[np.ndarray, " unknown"]) -> Float[np.ndarray, " unknown"]:
        """Multiply by the Gauss-Newton matrix."""
        n_point, active = int(np.prod(self.shape)), self.problem.active
        change = step[:n_point].reshape(self.shape)
        slopes = self.problem._stretches(change)
        inside = {axis: slope[active] for axis, slope in slopes.items()}
        difference = self.by_value * change[active]
        start = n_point
        for image, axis in enumerate(self.axes):
            difference[image] += self.by_slope[image] * inside[axis]
            if image in self.motion:
                stop = start + len(self.motion[image])
                difference[image] += step[start:stop] @ self.motion[image]
                start = stop
        field, motion = self._transposed(difference - difference.mean(axis=0))
        field += self.problem._stiffen(change)
        for axis, slope in slopes.items():
            stride = self.problem.lattice.stride[axis]
            field += _slope_transposed(self.barrier[axis] * slope, axis, stride)
        motion += self.damping * step[n_point:]
        return np.concatenate([field.ravel(), motion])

    def mean_diagonal(self) -> float:
        """Give the typical curvature by the displacement of a point."""
        centred = self.by_value - self.by_value.mean(axis=0)
        return float((centred**2).sum(axis=0).mean())

    def motion_blocks(self) -> Float[np.ndarray, "n n"]:
        """Invert the curvature by the motion of each image alone."""
        n_unknown = sum(len(columns) for columns in self.motion.values())
        inverse, start = np.zeros((n_unknown, n_unknown), np.float32), 0
        for columns in self.motion.values():
            stop = start + len(columns)
            block = (columns @ columns.T).astype(np.float64)
            block += np.diag(self.damping[start:stop])
            inverse[start:stop, start:stop] = np.linalg.inv(block)
            start = stop
        return inverse

    def _transposed(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        field, active = np.zeros(self.shape, np.float32), self.problem.active
        field[active] = (self.by_value * residual).sum(axis=0)
        for axis in set(self.axes):
            pushed = np.zeros(self.shape, np.float32)
            members = [image for image, other in enumerate(self.axes) if other == axis]
            pushed[active] = (self.by_slope[members] * residual[members]).sum(axis=0)
            field += _slope_transposed(pushed, axis, self.problem.lattice.stride[axis])
        motion = [columns @ residual[image] for image, columns in self.motion.items()]
        return field, np.concatenate([*motion, np.zeros(0, np.float32)])


def _slope(values: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Difference the two neighbours of each point; at an edge the point stands for the missing."""
    lined = np.moveaxis(values, axis, 0)
    slope = np.empty_like(lined)
    slope[1:-1] = lined[2:] - lined[:-2]
    slope[0], slope[-1] = lined[1] - lined[0], lined[-1] - lined[-2]
    return np.moveaxis(slope * np.float32(0.5 / step), 0, axis)


def _slope_transposed(values: np.ndarray, axis: int, step: int) -> np.ndarray:
    lined = np.moveaxis(values, axis, 0)
    spread = np.zeros_like(lined)
    spread[1:] += lined[:-1]
    spread[:-1] -= lined[1:]
    spread[0] -= lined[0]
    spread[-1] += lined[-1]
    return np.moveaxis(spread * np.float32(0.5 / step), 0, axis)
