"""The sections of the configuration, one per stage; a stage receives its own and reads no other."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from shd_bids.errors import ConfigError

from .option import Option, check_options
from .plugin_file import PluginSettings, read_plugin_file

ANALYSIS_LEVELS = ("participant", "group")
#: Below the work directory: what libraries write where there is no home; it is not emptied.
LIBRARY_DIR_NAME = ".libraries"
TISSUES = ("WM", "GM", "CSF")
LEVELS = ("preproc", "response", "fod", "full")
FOD_MODELS = ("shd-tv", "shd", "esd", "rt-esd", "csd", "msmt-csd", "rumba", "rumba-tv")
SHD_MODELS = ("shd-tv", "shd", "esd", "rt-esd")
TRACKING_METHODS = ("probabilistic", "deterministic", "ptt", "pft")
VALID_ENDS = ("any", "not-csf", "grey-matter")
SEED_PLACES = ("white-matter", "interface")
TRACTOGRAM_FORMATS = ("tck", "trx", "trk")
_PATTERN_LETTERS = frozenset("*?[")  # of glob
_SPACE = re.compile(r"[A-Za-z0-9]+(:(res|cohort)-\d+)*")


@dataclass(frozen=True)
class ExecutionConfig:
    """What to read, where to write and how far to go."""

    bids_dir: Path
    output_dir: Path
    analysis_level: str = "participant"
    participant_labels: Annotated[
        tuple[str, ...],
        Option(
            "participants to process, with or without 'sub-' (default: all)",
            flags=("--participant-label",),
            metavar="LABEL",
        ),
    ] = ()
    session_labels: Annotated[
        tuple[str, ...],
        Option(
            "sessions to process, with or without 'ses-' (default: all)",
            flags=("--session-label",),
            metavar="LABEL",
        ),
    ] = ()
    bids_filter_file: Annotated[
        Path | None,
        Option('JSON file of pybids filters by kind of image: {"dwi": {...}}', metavar="FILE"),
    ] = None
    input_type: Annotated[
        str,
        Option(
            "what the input is: raw, or already preprocessed by QSIPrep or another pipeline that "
            "names its series desc-preproc_dwi; 'auto' asks dataset_description.json",
            choices=("auto", "raw", "qsiprep"),
        ),
    ] = "auto"
    derivatives: Annotated[
        dict[str, Path],
        Option(
            "take preprocessed series from this dataset instead, such as qsiprep=DIR; or go on "
            "from earlier results of shd-bids, as in shdbids=OUTPUT_DIR",
            flags=("-d", "--derivatives"),
            metavar="NAME=PATH",
        ),
    ] = field(default_factory=dict)
    bids_database_dir: Annotated[
        Path | None, Option("folder of a pybids database: read, or made if absent", metavar="DIR")
    ] = None
    level: Annotated[str, Option("the last stage to run", choices=LEVELS)] = "full"
    work_dir: Annotated[
        Path,
        Option(
            "folder for intermediate results; give the same one again to resume",
            flags=("-w", "--work-dir"),
            metavar="DIR",
        ),
    ] = Path("work")
    reports_only: Annotated[
        bool,
        Option("process nothing; assemble the pages anew from the figures in OUTPUT_DIR"),
    ] = False
    boilerplate_only: Annotated[
        bool, Option("process nothing; write the methods text to logs/CITATION.*")
    ] = False
    skip_bids_validation: Annotated[
        bool,
        Option(
            "taken for the sake of calls written for other BIDS Apps: no validator is run, and "
            "what is read is checked in any case"
        ),
    ] = False
    clean_workdir: Annotated[bool, Option("empty the work directory first")] = False
    clean_workdir_after: Annotated[
        bool,
        Option(
            "remove a participant's intermediate results when it is finished; those of one that "
            "failed stay"
        ),
    ] = False
    stop_on_first_crash: Annotated[bool, Option("stop everything at the first failure")] = False
    write_graph: Annotated[bool, Option("write the graph of steps to the log folder")] = False
    use_plugin: Annotated[
        Path | None,
        Option(
            "YAML, TOML or JSON file with plugin and plugin_args of nipype: SLURM makes a job of "
            "every large step; MultiProc and Linear run here",
            metavar="FILE",
        ),
    ] = None
    resource_monitor: Annotated[
        bool,
        Option(
            "sample memory and processor time of every step, once a second, into "
            "resource_monitor.json in the work directory"
        ),
    ] = False
    debug: Annotated[bool, Option("show tracebacks and debugging messages")] = False
    verbosity: Annotated[
        int, Option("say more; twice for everything", flags=("-v", "--verbose"), minimum=0)
    ] = 0

    def __post_init__(self) -> None:
        if self.analysis_level not in ANALYSIS_LEVELS:
            raise ConfigError(
                f"The analysis level cannot be {self.analysis_level!r}; choose from "
                f"{', '.join(ANALYSIS_LEVELS)}."
            )
        check_options(self)
        _ = self.plugin  # refuses what cannot be read
        if self.reports_only and self.boilerplate_only:
            raise ConfigError("--reports-only and --boilerplate-only were both given. Give one.")
        if self.reports_only:  # reads and writes nothing but the output
            return
        _check_places(self.bids_dir, self.output_dir, self.work_dir)
        _check_derivatives(self.derivatives, self.input_type)

    @property
    def plugin(self) -> PluginSettings:
        """Who runs the steps."""
        return read_plugin_file(self.use_plugin) if self.use_plugin else PluginSettings()

    @property
    def library_dir(self) -> Path:
        """Where libraries may write if there is no home; a run without steps has no work folder."""
        without_steps = self.reports_only or self.boilerplate_only
        return (self.output_dir / "logs" if without_steps else self.work_dir) / LIBRARY_DIR_NAME


@dataclass(frozen=True)
class PreprocConfig:
    """Preprocessing of the diffusion images."""

    denoise_method: Annotated[
        str, Option("how noise is removed", choices=("mppca", "patch2self", "none"))
    ] = "mppca"
    unringing_method: Annotated[
        str,
        Option(
            "how Gibbs ringing is removed; 'auto' leaves it where less than 0.8 of k-space was "
            "sampled and where slices are narrow",
            choices=("none", "auto", "subvoxel-shifts"),
        ),
    ] = "auto"
    sdc: Annotated[
        str,
        Option(
            "how susceptibility distortion is corrected; 'auto' takes images of opposite phase "
            "encoding if there are any; 'topup' needs FSL",
            choices=("auto", "reverse-phase", "topup", "none"),
        ),
    ] = "auto"
    hmc: Annotated[
        str,
        Option(
            "how head motion and eddy currents are corrected: each volume is registered to what "
            "all others predict",
            choices=("leave-one-out", "none"),
        ),
    ] = "leave-one-out"
    bias_correction: Annotated[
        str, Option("how the bias field is removed", choices=("n4", "none"))
    ] = "n4"
    output_resolution: Annotated[
        float | None,
        Option(
            "isotropic voxel size of the preprocessed series, mm (default: as acquired)",
            minimum=0.5,
            maximum=10,
            metavar="MM",
        ),
    ] = None
    mask_method: Annotated[
        str,
        Option("how the brain is found; 'none' takes all signal", choices=("median-otsu", "none")),
    ] = "median-otsu"
    b0_threshold: Annotated[
        float,
        Option("b-values up to this (s/mm²) count as b=0", minimum=0, maximum=500, metavar="B"),
    ] = 100.0
    shell_tolerance: Annotated[
        float,
        Option("b-values this close (s/mm²) form one shell", minimum=1, maximum=500, metavar="B"),
    ] = 80.0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class AnatConfig:
    """Structural image."""

    skip_anat: Annotated[bool, Option("pass over the T1w image: no tissues, no template")] = False
    anat_template: Annotated[
        str,
        Option(
            "template that finds the brain in the T1w image: a name of TemplateFlow with :res-N "
            "or :cohort-N after it, or T1W.nii.gz[,MASK.nii.gz]",
            metavar="TEMPLATE",
        ),
    ] = "MNI152NLin2009cAsym"
    output_spaces: Annotated[
        tuple[str, ...],
        Option(
            "spaces that maps are brought to: dwi, that of the series, where they always are; T1w; "
            "the name of the template, with :res-N behind it for TemplateFlow's grid instead of "
            "the series' voxel size (default: dwi)",
            metavar="SPACE",
        ),
    ] = ("dwi",)
    atlases: Annotated[
        tuple[str, ...],
        Option(
            "atlases that are brought to the series: a name of TemplateFlow with :desc-LABEL or "
            ":res-N after it, or DSEG.nii.gz[,LABELS.tsv] in the template, or in the T1w image's "
            "space if its name says space-T1w",
            metavar="ATLAS",
        ),
    ] = ()

    def __post_init__(self) -> None:
        check_options(self)
        for space in self.output_spaces:
            if not _SPACE.fullmatch(space):
                raise ConfigError(
                    f"--output-spaces cannot be {space!r}; expected dwi, T1w or the name of the "
                    "template, as in MNI152NLin2009cAsym:res-2."
                )


@dataclass(frozen=True)
class ResponseConfig:
    """Response functions of the tissues."""

    files: Annotated[
        dict[str, Path],
        Option(
            "responses to use instead of estimating them (MRtrix3 text): WM=FILE GM=FILE "
            "CSF=FILE, or one folder that holds them",
            flags=("--response",),
            metavar="TISSUE=FILE",
        ),
    ] = field(default_factory=dict)

    intensity: Annotated[
        str,
        Option(
            "whether given responses are brought to the brightness of the scan, which its own "
            "responses tell, or taken as they are; 'auto' does so with the group level's",
            flags=("--response-intensity",),
            choices=("auto", "matched", "as-given"),
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        check_options(self)
        for tissue, file in self.files.items():
            if tissue not in TISSUES:
                raise ConfigError(
                    f"--response names the tissue {tissue!r}; choose from {', '.join(TISSUES)}."
                )
            if not file.is_file():
                raise ConfigError(f"--response {tissue}={file}: there is no such file.")
        if self.files and "WM" not in self.files:
            raise ConfigError("--response lacks the white matter: add WM=FILE.")


@dataclass(frozen=True)
class DeconvConfig:
    """Fibre orientations: model, training and device."""

    fod_models: Annotated[
        tuple[str, ...],
        Option(
            "models to fit; the first is tracked, the others are for comparison (default: shd-tv, "
            "with csd beside it on one shell or msmt-csd on several)",
            flags=("--fod-model",),
            choices=FOD_MODELS,
        ),
    ] = ()
    shd_preset: Annotated[
        str | None,
        Option(
            "size and schedule of the network (default: standard on a GPU, fast on a CPU)",
            choices=("fast", "standard", "paper"),
        ),
    ] = None
    shd_steps: Annotated[
        int | None,
        Option("training steps (default: the preset's)", minimum=1, metavar="N"),
    ] = None
    tv_weight: Annotated[
        float | None,
        Option("weight of the total variation (default: the model's)", minimum=0, metavar="W"),
    ] = None
    lmax: Annotated[
        int,
        Option("largest harmonic degree of the fODF, even", minimum=2, maximum=18, metavar="L"),
    ] = 8
    weights: Annotated[
        Path | None,
        Option(
            "network weights (.safetensors) of an earlier run, or a folder that holds them such as "
            "the group level's, to use without training",
            metavar="PATH",
        ),
    ] = None
    device: Annotated[
        str,
        Option(
            "where the network runs; 'auto' takes a usable GPU", choices=("auto", "cuda", "cpu")
        ),
    ] = "auto"
    precision: Annotated[
        str, Option("arithmetic of the network", choices=("auto", "float32", "bfloat16"))
    ] = "auto"
    random_seed: Annotated[
        int, Option("seed of training and tracking", minimum=0, metavar="SEED")
    ] = 0

    def __post_init__(self) -> None:
        check_options(self)
        if len(set(self.fod_models)) < len(self.fod_models):
            raise ConfigError("--fod-model names a model twice.")
        if self.lmax % 2:
            raise ConfigError(f"--lmax is {self.lmax}; it must be even.")
        if self.weights is not None and not self.weights.is_file():
            raise ConfigError(f"--weights {self.weights}: there is no such file.")


@dataclass(frozen=True)
class TrackingConfig:
    """Tractography."""

    skip_tractography: Annotated[
        bool, Option("stop after the fibre orientations and their maps")
    ] = False
    tracking_method: Annotated[
        str,
        Option(
            "how streamlines are followed: probabilistic and deterministic steps, parallel "
            "transport (ptt), or particle filtering (pft), which needs grey matter to be known",
            choices=TRACKING_METHODS,
        ),
    ] = "probabilistic"
    n_streamlines: Annotated[
        int | None,
        Option("streamlines to keep (default: 100000)", minimum=1, metavar="N"),
    ] = None
    seeds_per_voxel: Annotated[
        int | None,
        Option(
            "track so many seeds in each voxel, instead of --n-streamlines",
            minimum=1,
            metavar="N",
        ),
    ] = None
    seed_from: Annotated[
        str,
        Option(
            "where streamlines start: white-matter, interface (between grey and white matter), or "
            "an image (.nii.gz) whose voxels above 0.5 are taken",
            metavar="PLACE",
        ),
    ] = "white-matter"
    step_mm: Annotated[
        float | None,
        Option("length of a step (default: half a voxel)", minimum=0.01, maximum=10, metavar="MM"),
    ] = None
    max_angle_deg: Annotated[
        float, Option("largest turn in one step", minimum=1, maximum=90, metavar="DEG")
    ] = 20.0
    min_length_mm: Annotated[
        float, Option("shorter streamlines are dropped", minimum=0, metavar="MM")
    ] = 20.0
    max_length_mm: Annotated[
        float, Option("longer streamlines are dropped", minimum=1, metavar="MM")
    ] = 250.0
    valid_ends: Annotated[
        str,
        Option(
            "ends that a streamline may have where grey matter is known; others are dropped",
            choices=VALID_ENDS,
        ),
    ] = "grey-matter"
    tractogram_formats: Annotated[
        tuple[str, ...],
        Option(
            "files of streamlines to write",
            flags=("--tractogram-format",),
            choices=TRACTOGRAM_FORMATS,
        ),
    ] = ("tck",)
    streamline_weights: Annotated[
        str,
        Option(
            "weights that make streamlines count what the fODFs hold; 'auto' takes SIFT2 if "
            "MRtrix3's tcksift2 is installed",
            choices=("auto", "sift2", "life", "none"),
        ),
    ] = "auto"
    assignment_radius_mm: Annotated[
        float,
        Option(
            "how far from its end a region may be that a streamline is counted for",
            minimum=0.1,
            metavar="MM",
        ),
    ] = 4.0
    density_voxel_mm: Annotated[
        float | None,
        Option(
            "voxels of the finer density map (default: half of the series')",
            minimum=0.1,
            metavar="MM",
        ),
    ] = None
    model_bundles: Annotated[
        Path | None,
        Option(
            "folder of model bundles (.trk, .tck, .trx) in one space, which are looked for in the "
            "tractogram",
            metavar="DIR",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.n_streamlines is not None and self.seeds_per_voxel is not None:
            raise ConfigError(
                "--n-streamlines and --seeds-per-voxel were both given; the number of streamlines "
                "follows from one of them."
            )
        if self.min_length_mm >= self.max_length_mm:
            raise ConfigError(
                f"--min-length-mm is {self.min_length_mm:g} and --max-length-mm "
                f"{self.max_length_mm:g}; the first must be smaller."
            )

    @property
    def wanted_streamlines(self) -> int:
        """How many are kept where their number does not follow from the seeds."""
        return 100_000 if self.n_streamlines is None else self.n_streamlines


@dataclass(frozen=True)
class ResourcesConfig:
    """Processors, memory and graphics cards."""

    nprocs: Annotated[
        int | None,
        Option("processor cores for all steps (default: all allowed)", minimum=1, metavar="N"),
    ] = None
    omp_nthreads: Annotated[
        int | None,
        Option("threads of one step (default: nprocs, at most 8)", minimum=1, metavar="N"),
    ] = None
    mem: Annotated[
        float | None,
        Option(
            "memory in GB for all steps (default: 90 % of what is allowed)", minimum=1, metavar="GB"
        ),
    ] = None
    gpus: Annotated[
        int | None,
        Option("graphics cards to use at once (default: all visible)", minimum=0, metavar="N"),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on.

    Attributes
    ----------
    chosen
        Settings that were left to the machine, as ``section.name``: they hold what it chose, and
        are not written down as if they had been asked for.
    """

    execution: ExecutionConfig
    preproc: PreprocConfig = field(default_factory=PreprocConfig)
    anat: AnatConfig = field(default_factory=AnatConfig)
    response: ResponseConfig = field(default_factory=ResponseConfig)
    deconv: DeconvConfig = field(default_factory=DeconvConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    chosen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.execution.analysis_level != "group":
            return
        for given, flag, what in (
            (self.response.files, "--response", "averages the participants' own responses"),
            (self.deconv.weights, "--weights", "trains a network of its own"),
        ):
            if given:
                raise ConfigError(
                    f"{flag} is for the level participant; the level group {what}. Leave it out."
                )

    def to_table(self) -> dict[str, dict[str, Any]]:
        """Give what was asked for as plain values by section; what is not set is left out."""
        return {
            name: {
                key: _plain(value)
                for key, value in vars(section).items()
                if value is not None and f"{name}.{key}" not in self.chosen
            }
            for name, section in vars(self).items()
            if dataclasses.is_dataclass(section)
        }

    def choices(self) -> dict[str, Any]:
        """Give what the machine chose, as plain values by ``section.name``."""
        return {
            place: _plain(getattr(getattr(self, section), name))
            for place in self.chosen
            for section, _, name in [place.partition(".")]
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _check_derivatives(derivatives: dict[str, Path], input_type: str) -> None:
    if derivatives and input_type == "raw":
        raise ConfigError(
            "--derivatives names a preprocessed dataset, but --input-type is raw. Give one of them."
        )
    if len(derivatives) > 2:
        raise ConfigError(
            f"--derivatives names {len(derivatives)} datasets ({', '.join(derivatives)}); expected "
            "one with preprocessed series, and one with earlier results of shd-bids."
        )
    for name, folder in derivatives.items():
        if not name.isalnum() or name == "raw":
            raise ConfigError(
                f"--derivatives {name}={folder}: expected a name of letters and digits, not raw."
            )
        if not folder.is_dir():
            raise ConfigError(f"--derivatives {name}={folder}: there is no such folder.")


def _check_places(bids_dir: Path, output_dir: Path, work_dir: Path) -> None:
    """Refuse folders that would let a run write into its input or delete its own output."""
    bids, output, work = (place.resolve() for place in (bids_dir, output_dir, work_dir))
    if not bids.is_dir():
        raise ConfigError(f"The input {bids_dir} is not a folder. Give the root of a BIDS dataset.")
    if output == bids:
        raise ConfigError(f"The output {output_dir} is the input itself. Give another folder.")
    for place, name in ((output, f"The output {output_dir}"), (work, f"--work-dir {work_dir}")):
        if place.is_relative_to(bids):
            raise ConfigError(
                f"{name} lies inside the input {bids_dir}, which is never written to. "
                "Give a folder beside it."
            )
    if letters := sorted(_PATTERN_LETTERS & set(str(work))):
        raise ConfigError(
            f"--work-dir {work} holds {' '.join(letters)}, which nipype takes for a pattern when "
            "it looks for intermediate results: nothing would be found again. Give another folder."
        )
    if bids.is_relative_to(work):
        raise ConfigError(
            f"--work-dir {work_dir} holds the input {bids_dir}: emptying one would delete the "
            "other. Give another folder."
        )
    if output.is_relative_to(work):
        raise ConfigError(
            f"--work-dir {work_dir} holds the output {output_dir}: emptying one would delete the "
            "other. Give another folder."
        )
