"""The errors that a user can cause: messages name the file or flag, what was found, what to try."""


class ShdBidsError(Exception):
    """Base of every error that shd-bids raises on purpose."""


class ConfigError(ShdBidsError):
    """A command-line flag or a configuration file asks for something impossible."""


class BidsDataError(ShdBidsError):
    """The input dataset lacks something or contradicts itself."""


class ImageError(ShdBidsError):
    """An image cannot be used: truncated, not 4-D, not finite, constant, no usable affine."""


class GradientTableError(ShdBidsError):
    """A gradient table is missing, malformed or disagrees with its image."""


class TransformError(ShdBidsError):
    """Head positions, a field map or a registration cannot be read or used."""


class AnatomyError(ShdBidsError):
    """A structural image or a template is missing or cannot be used."""


class MaskError(ShdBidsError):
    """A brain mask is empty or does not fit its image."""


class ResponseError(ShdBidsError):
    """A response function cannot be read, estimated or used with this acquisition."""


class DeviceError(ShdBidsError):
    """The computing device that was asked for cannot be used or ran out of memory."""


class TrainingError(ShdBidsError):
    """Training cannot go on: the loss explodes or is no number."""


class WeightsError(ShdBidsError):
    """Network weights or a checkpoint cannot be read or do not fit the settings."""


class DamagedFileError(WeightsError):
    """A file of weights or a checkpoint is truncated, changed, or none at all."""


class TrackingError(ShdBidsError):
    """Streamlines cannot be tracked, read, weighed or recognised."""


class WorkDirError(ShdBidsError):
    """The work directory belongs to another version or to other data."""


class OutputError(ShdBidsError):
    """The output directory cannot be written or lies where it must not."""
