"""The methods say what a run did, and nothing that it did not do."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from shd_workflows import boilerplate
from shd_workflows.anat_plan import AnatPlan, OutputSpace
from shd_workflows.boilerplate import (
    found_text,
    participant_methods,
    participant_sections,
    study_methods,
)
from shd_workflows.outcome import Outcome
from shd_workflows.plan import SeriesPlan, plan_series
from shd_workflows.run import build_workflow
from shd_workflows.sources import open_source

from shd_bids.anat.atlas import Atlas
from shd_bids.anat.template import Template
from shd_bids.config import DeconvConfig, ExecutionConfig, ResponseConfig, RunConfig
from shd_bids.reports.methods import bibliography, cited_keys, markdown_text
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom

_CITED = re.compile(r"\[(@[\w; @]+)\]")


@pytest.fixture(scope="module")
def root(tmp_path_factory, skeleton_writer) -> Path:
    """Write a dataset, and files that settings may name."""
    folder = tmp_path_factory.mktemp("methods")
    skeleton_writer(folder / "bids", {"01": ["sub-01"], "02": ["sub-02"]})
    for name in ("wm.txt", "net.safetensors", "seeds.nii.gz", "labels.tsv", "models/AF.tck"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("index\tname\n1\ta\n" if name == "labels.tsv" else "")
    nib.Nifti1Image(np.ones((6, 6, 4), np.float32), np.eye(4)).to_filename(folder / "head.nii.gz")
    return folder


@pytest.fixture(scope="module")
def config(root) -> RunConfig:
    execution = ExecutionConfig(root / "bids", root / "out", work_dir=root / "work")
    return RunConfig(execution, deconv=DeconvConfig(shd_preset="fast", device="cpu"))


@pytest.fixture(scope="module")
def plans(config) -> dict[str, SeriesPlan]:
    source = open_source(config, ["01", "02"])
    return {
        label: plan_series(source.series_of(label, config, {})[0], config) for label in ("01", "02")
    }


@pytest.fixture
def sections(config, plans):
    """Describe a participant with some settings, and some of what was planned, changed."""

    def make(label: str = "01", plan=None, planned=None, **changed):
        new = replace(
            config,
            **{name: replace(getattr(config, name), **values) for name, values in changed.items()},
        )
        plan = replace(plan or plans[label], **(planned or {}))
        plan = replace(plan, models=new.deconv.fod_models or plan.models)
        outcome = Outcome(label, new.execution.output_dir, [plan])
        return participant_sections(build_workflow(new, [outcome]), label, [plan], new)

    return make


def three_shells(plan: SeriesPlan) -> dict:
    return {"shell_bvals": (0.0, 1000.0, 2500.0), "shell_counts": (1, 6, 6)}


def geometry(**values):
    return lambda plan: {"geometry": replace(plan.geometry, **values)}


def anat(**values):
    """Name files of the dataset's folder when the plan is known."""

    def plan_it(plan: SeriesPlan) -> dict:
        folder = plan.series.runs[0].dwi_file.parents[3]
        head = folder / "head.nii.gz"
        made = {
            "t1w_file": lambda _: head,
            "template": lambda name: Template(name, head),
            "spaces": lambda labels: tuple(
                OutputSpace(label, None if label == "T1w" else head) for label in labels
            ),
            "atlases": lambda names: tuple(
                Atlas(name, head, folder / "labels.tsv", "T1w") for name in names
            ),
        }
        return {"anat": AnatPlan(**{key: made[key](value) for key, value in values.items()})}

    return plan_it


# (settings, what was planned, what must be said, what must not)
CASES = {
    "as it comes": (
        {}, None,
        ["voxels of 2 x 2 x 2 mm³ and 13 volumes: 1 at b = 0 and 12 at b = 1000 s/mm²",
         "up to 100 s/mm² were taken for b = 0", "[@mppca]",
         "because its phase encoding is not known", "Gaussian process", "[@n4]", "[@otsu; @dipy]",
         "Gibbs ringing was not removed, because the slices across axis k are only 6 voxels wide",
         "Head motion and eddy currents were undone in one interpolation",
         "white matter and cerebrospinal fluid were estimated", "Grey matter was left out",
         "SHD-TV", "400 steps of 2 patches", "preset *fast*", "random seed 0", "on the CPU",
         "spherical harmonics of degree 8", "[@afd]",
         "100,000 streamlines were asked for", "in white matter (steps of 1 mm, at most 20°",
         "As grey matter was not known", "saved as TCK"],
        ["@patch2self", "@gibbs", "topup", "Structural", "T1", "isotropic", "were given", "@life",
         "Atlases", "@recobundles", "Distortion, head motion", "continuous maps", "runs of one"],
    ),
    "no denoising": (
        {"preproc": {"denoise_method": "none"}}, None, ["were not denoised"], ["@mppca"],
    ),
    "patch2self": (
        {"preproc": {"denoise_method": "patch2self"}}, None,
        ["Patch2Self [@patch2self]", "at least eight"], ["@mppca"],
    ),
    "unrung": (
        {}, lambda _: {"slice_axis": 2, "ringing": "removed"},
        ["Gibbs ringing was removed by sub-voxel shifts [@gibbs]. "], ["because the slices"],
    ),
    "unrung in part": (
        {},
        lambda _: {"slice_axis": 2,
                   "ringing": "removed, along the phase axis only in part: 0.9 of k-space was "
                   "sampled"},
        ["shifts [@gibbs], along the phase axis only in part, because 0.9 of k-space was sampled"],
        ["not removed"],
    ),
    "ringing left by wish": (
        {"preproc": {"unringing_method": "none"}},
        lambda _: {"ringing": "not removed: --unringing-method is none"},
        ["Gibbs ringing was not removed. "], ["--", "@gibbs"],
    ),
    "nothing moved": (
        {"preproc": {"hmc": "none"}}, geometry(hmc="none"),
        ["Neither susceptibility distortion nor head motion and eddy currents were corrected"],
        ["interpolation", "@eddy", "turned with the head"],
    ),
    "finer voxels alone": (
        {"preproc": {"hmc": "none", "output_resolution": 1.5}}, geometry(hmc="none"),
        ["The series was resampled in one interpolation by cubic splines, to isotropic voxels of "
         "1.5 mm", "Head motion and eddy currents were not corrected", "steps of 0.75 mm"],
        ["undone", "Neither"],
    ),
    "opposite images": (
        {}, geometry(sdc="reverse-phase", reason=""),
        ["[@reversephase; @hysco]",
         "Distortion, head motion and eddy currents were undone together"],
        ["distortion was not corrected", "topup"],
    ),
    "topup without motion": (
        {"preproc": {"hmc": "none"}}, geometry(sdc="topup", hmc="none", reason=""),
        ["*topup* [@reversephase] of FSL", "Distortion was undone in one interpolation"],
        ["@hysco", "@eddy"],
    ),
    "distortion left by wish": (
        {"preproc": {"sdc": "none"}}, geometry(reason="--sdc none was asked for"),
        ["Susceptibility distortion was not corrected. "], ["--sdc"],
    ),
    "no bias, no mask": (
        {"preproc": {"bias_correction": "none", "mask_method": "none"}}, None,
        ["Intensity bias was not corrected", "No brain was extracted"],
        ["geometric mean of the b=0 images and the lowest", "@otsu"],
    ),
    "preproc only": (
        {"execution": {"level": "preproc"}}, None,
        ["Preprocessing"], ["Fibre", "@shdtv", "@dhollander2016", "Tractography", "@afd"],
    ),
    "response only": (
        {"execution": {"level": "response"}}, None,
        ["[@amp2response]"], ["@shdtv", "Tractography", "@afd"],
    ),
    "no tracts": (
        {"tracking": {"skip_tractography": True}}, None, ["@shdtv", "[@afd]"], ["Tractography"],
    ),
    "three shells": (
        {}, three_shells,
        ["1 at b = 0, 6 at b = 1000 and 6 at b = 2500 s/mm²",
         "white matter, grey matter and cerebrospinal fluid were estimated",
         "the tissues that the deconvolution told apart", "continuous maps [@girard2014]",
         "neither in grey matter nor where they left the brain were dropped"],
        ["left out", "was not known,"],
    ),
    "weights given": (
        {"deconv": {"weights": "net.safetensors", "fod_models": ("shd-tv",)}}, None,
        ["weights that were given (net.safetensors)", "not trained on this scan"],
        ["learned", "400 steps", "@csd"],
    ),
    "its own schedule": (
        {"deconv": {"shd_steps": 1200, "tv_weight": 0.25, "random_seed": 7, "device": "cuda",
                    "lmax": 6, "fod_models": ("shd-tv",)}}, None,
        ["1,200 steps", "total variation weighted by 0.25", "random seed 7", "a graphics card",
         "degree 6"],
        ["400 steps", "degree 8", "the CPU"],
    ),
    "esd": (
        {"deconv": {"fod_models": ("esd",), "tv_weight": 0.25}}, None,
        ["[@esd]", "The network learned on this scan alone"],
        ["@reisert2011", "total variation", "@shdtv"],
    ),
    "csd, fewer directions": (
        {"deconv": {"fod_models": ("csd",)}}, None,
        ["DIPY", "[@csd]", "spherical harmonics of degree 4", "the total apparent fibre density"],
        ["PyTorch", "@pytorch", "degree 8", "learned"],
    ),
    "responses given": (
        {"response": {"files": {"WM": "wm.txt"}}}, None,
        ["not estimated from these data but given: white matter (wm.txt)",
         "total apparent fibre density"],
        ["@dhollander2016", "@amp2response", "left out"],
    ),
    "streamlines from a border": (
        {"tracking": {"tracking_method": "pft", "seed_from": "interface", "n_streamlines": 700,
                      "step_mm": 0.4, "max_angle_deg": 35.0, "min_length_mm": 15.0,
                      "max_length_mm": 200.0, "valid_ends": "not-csf",
                      "tractogram_formats": ("trx", "trk")}}, three_shells,
        ["700 streamlines", "particle filtering [@girard2014]", "border of grey and white matter",
         "steps of 0.4 mm, at most 35° a step, 15 to 200 mm long",
         "ended in cerebrospinal fluid were dropped", "saved as TRX and TRK"],
        ["100,000", "probabilistically", "TCK"],
    ),
    "streamlines by seeds": (
        {"tracking": {"tracking_method": "deterministic", "seeds_per_voxel": 2,
                      "seed_from": "seeds.nii.gz", "valid_ends": "any"}}, three_shells,
        ["Streamlines from 2 seeds in each voxel", "EuDX [@eudx]", "in voxels of seeds.nii.gz",
         "kept whatever tissue"],
        ["asked for", "dropped"],
    ),
    "sift2": (
        {"tracking": {"tracking_method": "ptt"}}, lambda _: {"weights": "sift2"},
        ["SIFT2 [@sift2] of MRtrix3", "[@ptt]"], ["@life", "not weighted"],
    ),
    "life": (
        {}, lambda _: {"weights": "life"}, ["LiFE [@life; @life_encode]"], ["@sift2", "@mrtrix3"],
    ),
    "no weights": (
        {}, lambda _: {"weights": "none"}, ["They were not weighted"], ["@sift2", "@life"],
    ),
    "bundles": (
        {"tracking": {"model_bundles": "models"}}, None, ["[@recobundles]", "[@afq]"], [],
    ),
    "t1w without template": (
        {}, anat(t1w_file="head"),
        ["Structural image", "rigidly registered", "As there was no template", "[@hmrf; @dipy]",
         "the tissues of the T1w image"],
        ["@syn", "As grey matter was not known"],
    ),
    "t1w, template, space, atlas": (
        {"tracking": {"assignment_radius_mm": 3.0}},
        anat(t1w_file="head", template="MNI6", spaces=("T1w", "MNI6"), atlases=("Lobes", "Halves")),
        ["through the template MNI6", "[@syn; @dipy]", "the atlas Lobes", "the atlas Halves",
         "scalar maps were brought to the space of the T1w image", "to the space of MNI6",
         "the regions of Lobes and Halves", "within 3 mm [@sift_connectome]"],
        ["no template"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_methods_are_true_to_the_settings(case, sections, plans, root):
    changed, planned, said, unsaid = CASES[case]
    changed = {name: _in_place(values, root) for name, values in changed.items()}
    text = participant_methods(sections(planned=planned and planned(plans["01"]), **changed))
    text = " ".join(text.split()) + " "
    assert [words for words in said if words not in text] == []
    assert [words for words in unsaid if words in text] == []
    assert [key for key in _keys(text) if key not in bibliography()] == []
    assert "@" not in markdown_text(text)
    assert "None" not in text


def test_every_work_that_some_graph_may_cite_is_in_the_bibliography():
    sources = Path(boilerplate.__file__).parent.glob("*.py")
    groups = [group for file in sources for group in _CITED.findall(file.read_text())]
    keys = {key.strip(" @;") for group in groups for key in group.split(";")}
    assert len(keys) > 40
    assert keys <= set(bibliography())


def _in_place(values: dict, root: Path) -> dict:
    """Make paths of the names of files."""
    named = {"weights", "model_bundles"}
    found = {key: root / value if key in named else value for key, value in values.items()}
    if "files" in found:
        found["files"] = {tissue: root / name for tissue, name in found["files"].items()}
        ResponseConfig(found["files"])
    if found.get("seed_from", "").endswith(".nii.gz"):
        found["seed_from"] = str(root / found["seed_from"])
    return found


def _keys(text: str) -> list[str]:
    return [word.strip("@[];.,)") for word in text.split() if word.startswith(("[@", "@"))]


def test_a_preprocessed_series_is_said_to_be_taken_as_it_is(config, sections, tmp_path):
    write_qsiprep_tree(make_phantom((6, 6, 6), 6.0, shells={0: 1, 1000: 12}), tmp_path / "qsiprep")
    execution = replace(config.execution, derivatives={"qsiprep": tmp_path / "qsiprep"})
    changed = replace(config, execution=execution)
    (series,) = open_source(changed, ["01"]).series_of("01", changed, {})
    found = sections(plan=plan_series(series, changed))
    text = participant_methods(found)
    assert "had been preprocessed before by qsiprep 1.0.1 and was taken as it is" in text
    assert series.dwi_file.name not in text
    assert not {"mppca", "gibbs", "eddy", "n4"} & set(cited_keys(found["Preprocessing"]))


def test_version_and_container_stand_in_the_text(sections):
    text = participant_methods(sections(), container={"Type": "docker", "Tag": "x/shd-bids:1"})
    assert "*shd-bids* 0.1.0 (in the container docker x/shd-bids:1), a BIDS App" in text
    assert "container" not in participant_methods(sections())


def test_of_participants_that_are_alike_everything_is_said_once(sections):
    text = study_methods({"01": sections("01"), "02": sections("02")})
    assert text == participant_methods(sections("01"))
    assert text.count("Gaussian process") == 1


def test_where_participants_differ_it_is_said_for_whom_each_text_holds(sections, plans):
    many = dict.fromkeys((f"{i:02}" for i in range(1, 15)), sections())
    other = sections("02", planned=three_shells(plans["02"]))
    text = study_methods(many | {"99": other})
    assert "*In sub-01, sub-02, sub-03 and 11 others (14 of 15):* The diffusion series has" in text
    assert "*In sub-99:* Response functions of white matter, grey matter and" in text
    assert text.count("Gaussian process") == 1


def test_who_was_not_finished_is_left_out_and_named(sections, plans):
    odd = sections("02", planned=three_shells(plans["02"]))
    text = study_methods({"01": sections("01"), "02": odd, "03": {}}, failed=["02", "03"])
    assert "b = 2500" not in text
    assert "does not hold for them:** sub-02 and sub-03." in text
    assert "Not all of this was done" in participant_methods(odd, failed=True)
    assert study_methods({"03": {}}, failed=["03"]) == ""
    assert participant_methods({}) == ""


def test_what_came_out_is_told_in_numbers(plans, tmp_path):
    folder = tmp_path / "sub-01" / "dwi"
    folder.mkdir(parents=True)
    stem = "sub-01_space-orig"
    sidecars = {
        f"{stem}_param-response_label-WM_dwimap": {"Settings": {"NumberOfVoxels": 320}},
        f"{stem}_model-shdtv_param-fod_label-WM_dwimap": {
            "Settings": {"n_parameter": 84840, "loss_weights": {"total_variation": 0.5}}
        },
        f"{stem}_model-shdtv_track-probabilistic_desc-weights_tractogram": {"WeightsMethod": "x"},
        f"{stem}_model-shdtv_track-probabilistic_tractogram": {"StreamlineCount": 12345},
        "sub-01_acq-x_space-orig_param-response_label-GM_dwimap": {
            "Settings": {"NumberOfVoxels": 1}
        },
    }
    for name, fields in sidecars.items():
        (folder / f"{name}.json").write_text(json.dumps(fields))
    assert found_text(tmp_path, [plans["01"]]) == (
        "The response of WM is a mean over 320 voxels. The network had 84,840 parameters; the "
        "terms of its loss were weighted: total variation 0.5. 12,345 streamlines were kept."
    )
    assert found_text(tmp_path / "nowhere", [plans["01"]]) == ""
