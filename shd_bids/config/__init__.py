"""The settings of a run: each default, unit and allowed value in one place."""

from .file import SECTIONS, build_config, config_text, read_config_file
from .option import Option, options_of
from .plugin_file import PluginSettings, read_plugin_file
from .sections import (
    ANALYSIS_LEVELS,
    FOD_MODELS,
    LEVELS,
    LIBRARY_DIR_NAME,
    SEED_PLACES,
    SHD_MODELS,
    TISSUES,
    TRACKING_METHODS,
    TRACTOGRAM_FORMATS,
    VALID_ENDS,
    AnatConfig,
    DeconvConfig,
    ExecutionConfig,
    PreprocConfig,
    ResourcesConfig,
    ResponseConfig,
    RunConfig,
    TrackingConfig,
)

__all__ = [
    "ANALYSIS_LEVELS",
    "FOD_MODELS",
    "LEVELS",
    "LIBRARY_DIR_NAME",
    "SECTIONS",
    "SEED_PLACES",
    "SHD_MODELS",
    "TISSUES",
    "TRACKING_METHODS",
    "TRACTOGRAM_FORMATS",
    "VALID_ENDS",
    "AnatConfig",
    "DeconvConfig",
    "ExecutionConfig",
    "Option",
    "PluginSettings",
    "PreprocConfig",
    "ResourcesConfig",
    "ResponseConfig",
    "RunConfig",
    "TrackingConfig",
    "build_config",
    "config_text",
    "options_of",
    "read_config_file",
    "read_plugin_file",
]
