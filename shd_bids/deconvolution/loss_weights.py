"""How much each term of the loss counts; known without torch, which the planning must not load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms; SHD is SHD-TV without total variation."""

    reconstruction: float = 1.0
    non_negativity: float = 0.2
    sparsity: float = 1e-4
    total_variation: float = 0.5

    @classmethod
    def for_model(cls, model: str, tv_weight: float | None = None) -> "LossWeights":
        """Give the weights of a model; ``tv_weight`` replaces SHD-TV's own.

        ``shd``, ``esd`` and ``rt-esd`` have no total variation.
        """
        if model != "shd-tv":
            return cls(sparsity=1e-5, total_variation=0.0)
        return cls() if tv_weight is None else cls(total_variation=tv_weight)
