"""Maps reach other spaces and atlases reach the series, or the run says that they do not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from anat.heads import T1W, rigid, seen_at, upright_grid
from saved_files import broken_uris
from shd_workflows.anat_plan import plan_anat
from shd_workflows.participant import init_participant_wf
from shd_workflows.plan import plan_series
from shd_workflows.run import write_boilerplate
from shd_workflows.sources import open_source

from shd_bids.anat.brain import dice
from shd_bids.anat.volume import Volume
from shd_bids.bids.dataset import open_layout
from shd_bids.bids.series import collect_series
from shd_bids.config import (
    AnatConfig,
    DeconvConfig,
    ExecutionConfig,
    PreprocConfig,
    ResourcesConfig,
    RunConfig,
)
from shd_bids.errors import ConfigError
from shd_bids.testing.phantom import make_phantom, write_phantom_bids
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree

NAMES = "index\tname\n1\twhite\n2\tgrey\n3\tfluid\n"


@pytest.fixture(scope="module")
def phantom():
    return make_phantom((24, 24, 18), 3.0, shells={0: 2, 1000: 12})


@pytest.fixture(scope="module")
def config(phantom, tmp_path_factory) -> RunConfig:
    """Give a participant with a T1w image, whose head lies turned in a template with an atlas."""
    root = tmp_path_factory.mktemp("spaces")
    bids_dir = write_phantom_bids(phantom, root / "bids")

    def save(data, affine, file):
        file.parent.mkdir(exist_ok=True)
        nib.Nifti1Image(data, affine).to_filename(file)

    head = Volume((phantom.truth.tissue @ T1W).astype(np.float32), phantom.affine)
    save(head.data, head.affine, bids_dir / "sub-01/anat/sub-01_T1w.nii.gz")
    grid = upright_grid((26, 26, 20), 3.0, "LAS")
    turn = rigid((4, -3, 5), (3, -2, 4), head.grid.centre_ras)
    save(seen_at(head, turn, grid), grid.affine, root / "tpl-Turned_T1w.nii.gz")
    labels = np.zeros(grid.shape, np.int16)
    for number in (1, 2, 3):
        share = np.where(phantom.mask, phantom.truth.tissue[..., number - 1], 0)
        volume = Volume(share.astype(np.float32), phantom.affine)
        labels[seen_at(volume, turn, grid) > 0.5] = number
    save(labels, grid.affine, root / "tpl-Turned_atlas-Tissue_dseg.nii.gz")
    (root / "tpl-Turned_atlas-Tissue_dseg.tsv").write_text(NAMES)
    save((labels > 0).astype(np.uint8), grid.affine, root / "tpl-Turned_mask.nii.gz")
    files = [str(root / f"tpl-Turned_{what}.nii.gz") for what in ("T1w", "mask")]
    return RunConfig(
        ExecutionConfig(bids_dir, root / "out", work_dir=root / "work", level="preproc"),
        preproc=PreprocConfig(denoise_method="none", hmc="none", bias_correction="none"),
        anat=AnatConfig(
            anat_template=",".join(files),
            output_spaces=("dwi", "T1w", "Turned"),
            atlases=(str(root / "tpl-Turned_atlas-Tissue_dseg.nii.gz"),),
        ),
        deconv=DeconvConfig(fod_models=("csd",)),
        resources=ResourcesConfig(nprocs=1, omp_nthreads=1),
    )


@pytest.fixture(scope="module")
def series(config):
    layout = open_layout(config.execution.bids_dir, participant_labels=["01"])
    return collect_series(layout, "01")[0]


@pytest.fixture(scope="module")
def out(config, series) -> Path:
    plan = plan_series(series, config)
    assert not plan.anat.undelivered
    workflow = init_participant_wf(label="01", plans=[plan], config=config)
    workflow.base_dir = str(config.execution.work_dir)
    workflow.run(plugin="Linear")
    return config.execution.output_dir / "sub-01"


def _load(folder, name):
    return nib.load(folder / f"sub-01_{name}.nii.gz")


def test_what_the_t1w_image_gives_lies_on_its_own_grid(out, config):
    t1w = nib.load(config.execution.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz")
    names = [f"label-{tissue}_probseg" for tissue in ("WM", "GM", "CSF")]
    for name in ("desc-preproc_T1w", "desc-brain_mask", *names):
        image = _load(out / "anat", name)
        assert image.shape == t1w.shape
        np.testing.assert_allclose(image.affine, t1w.affine, atol=1e-4)
    total = sum(_load(out / "anat", name).get_fdata() for name in names)
    inside = _load(out / "anat", "desc-brain_mask").get_fdata() > 0
    np.testing.assert_allclose(total[inside], 1.0, atol=1e-3)
    for ends in ("from-T1w_to-Turned", "from-Turned_to-T1w"):
        assert (out / f"anat/sub-01_{ends}_mode-image_xfm.h5").is_file()


def test_the_brain_lies_where_the_brain_of_the_space_lies(out, config):
    (template, mask) = (nib.load(file) for file in config.anat.anat_template.split(","))
    brought = _load(out / "dwi", "space-Turned_desc-brain_mask")
    assert brought.shape == template.shape  # both have voxels of 3 mm
    assert brought.get_data_dtype() == np.uint8
    assert dice(brought.get_fdata() > 0, mask.get_fdata() > 0) > 0.9
    assert dice(
        _load(out / "dwi", "space-T1w_desc-brain_mask").get_fdata() > 0,
        _load(out / "anat", "desc-brain_mask").get_fdata() > 0,
    ) > 0.9  # fmt: skip
    b0 = _load(out / "dwi", "space-Turned_dwiref").get_fdata()
    inside = mask.get_fdata() > 0
    assert b0[inside].mean() > 5 * b0[~inside].mean()


def test_the_atlas_lies_on_the_tissue_that_it_names(out, phantom):
    image = _load(out / "dwi", "space-orig_seg-Tissue_dseg")
    np.testing.assert_allclose(image.affine, phantom.affine, atol=1e-4)
    labels = np.asarray(image.dataobj)
    white = phantom.mask & (phantom.truth.tissue[..., 0] > 0.5)
    assert dice(labels == 1, white) > 0.9
    table = (out / "dwi/sub-01_space-orig_seg-Tissue_dseg.tsv").read_text().splitlines()
    assert table[0] == "index\tname\tn_voxels"
    assert table[1] == f"1\twhite\t{int((labels == 1).sum())}"
    assert (out / "figures/sub-01_desc-atlases_dwi.png").stat().st_size > 0


def test_sidecars_name_what_maps_were_made_from_and_all_of_it_is_there(out):
    for name in ("space-Turned_dwiref", "space-T1w_desc-brain_mask", "space-orig_seg-Tissue_dseg"):
        sidecar = json.loads((out / f"dwi/sub-01_{name}.json").read_text())
        assert sidecar["SpatialReference"]
        own = [uri for uri in sidecar["Sources"] if uri.startswith("bids::")]
        assert len(own) >= 2
        for uri in own:
            assert (out.parent / uri.removeprefix("bids::")).is_file(), uri
    sidecar = json.loads((out / "dwi/sub-01_space-Turned_dwiref.json").read_text())
    ways = [uri.split("sub-01_")[-1] for uri in sidecar["Sources"] if "_xfm" in uri]
    assert ways == ["from-T1w_to-Turned_mode-image_xfm.h5", "from-orig_to-T1w_mode-image_xfm.txt"]


def test_all_sources_of_all_files_exist(out, config):
    assert broken_uris(out.parent, {"raw": config.execution.bids_dir}) == []


def _sinks(workflow) -> dict[str, str]:
    return {
        path: node.fullname
        for node in workflow._get_all_nodes()
        if node.name.startswith("ds_")
        for path in node.inputs.paths.values()
    }


def test_scalar_maps_are_brought_and_what_turns_with_the_head_is_not(config, series):
    full = replace(config, execution=replace(config.execution, level="fod"))
    plan = plan_series(series, full)
    paths = list(_sinks(init_participant_wf(label="01", plans=[plan], config=full)))
    brought = {path.split("space-Turned_")[1] for path in paths if "space-Turned" in path}
    maps = [f"model-csd_param-{name}_dwimap.nii.gz" for name in ("afd", "nufo", "gfa", "rmse")]
    assert {*maps, "model-csd_param-fraction_label-WM_dwimap.nii.gz"} <= brought
    assert not any(word in name for name in brought for word in ("fod", "peaks", "dec"))


def test_series_that_share_a_t1w_image_write_its_files_once(config, series):
    other = replace(series, entities=series.entities | {"acq": "more"})
    plans = [plan_series(one, config) for one in (series, other)]
    workflow = init_participant_wf(label="01", plans=plans, config=config)
    paths = [
        path
        for node in workflow._get_all_nodes()
        if node.name.startswith("ds_")
        for path in node.inputs.paths.values()
    ]
    assert len(paths) == len(set(paths))
    assert "sub-01/anat/sub-01_acq-more_from-T1w_to-orig_mode-image_xfm.txt" in paths
    assert "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz" in paths


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"output_spaces": ("MNI152NLin6Asym",)},
            "spaces MNI152NLin6Asym: .* Turned only",
        ),
        (
            {"output_spaces": ("T1w",), "skip_anat": True},
            "T1w: there is no T1w image, or --skip",
        ),
        (
            {"output_spaces": ("Turned",), "skip_anat": True},
            "Turned: There is no T1w image .* --skip",
        ),
        ({"output_spaces": ("Turned:res-2",)}, "--output-spaces .*give --output-spaces Turned"),
        ({"anat_template": "/no.nii.gz", "output_spaces": ("Turned",)}, "there is no file /no.nii"),
        ({"atlases": ("/none.nii.gz",)}, "--atlases /none.nii.gz: there is no such file"),
    ],
)
def test_what_cannot_be_had_is_told_and_the_rest_goes_on(config, series, changed, words):
    anat = replace(config.anat, **({"atlases": ()} | changed))
    plan = plan_anat(series, anat)
    (text,) = plan.undelivered
    assert re.search(words, text)
    assert plan.t1w_file == (None if anat.skip_anat else series.t1w_file)


def test_the_methods_text_alone_tells_of_it_too_and_does_not_count_as_done(config):
    execution = replace(config.execution, boilerplate_only=True)
    anat = replace(config.anat, atlases=("/none.nii.gz",))
    (outcome,), text_file = write_boilerplate(replace(config, execution=execution, anat=anat))
    assert not outcome.finished
    (message,) = outcome.messages
    assert message.startswith("--atlases /none.nii.gz: there is no such file.")
    assert text_file.is_file()


def test_an_atlas_of_another_template_is_refused_and_one_of_the_series_is_not(config, series):
    file = Path(config.anat.atlases[0])
    for space in ("MNI152NLin6Asym", "orig", "T1w"):
        for extension in (".nii.gz", ".tsv"):
            copy = file.with_name(f"Mine_space-{space}_dseg{extension}")
            copy.write_bytes(
                file.with_name(f"tpl-Turned_atlas-Tissue_dseg{extension}").read_bytes()
            )
        atlases = (str(file.with_name(f"Mine_space-{space}_dseg.nii.gz")),)
        plan = plan_anat(series, replace(config.anat, atlases=atlases))
        assert len(plan.atlases) == (space != "MNI152NLin6Asym")
        alone = AnatConfig(atlases=atlases, skip_anat=True)
        told = plan_anat(series, alone).undelivered
        assert [f"--anat-template {space}" in text for text in told] == {
            "MNI152NLin6Asym": [True], "orig": [], "T1w": [False]
        }[space]  # fmt: skip
    again = f"{file},{file.with_name('tpl-Turned_atlas-Tissue_dseg.tsv')}"
    plan = plan_anat(series, replace(config.anat, atlases=(str(file), again)))
    (text,) = plan.undelivered
    assert "another atlas is called Tissue, too" in text


def test_a_space_that_cannot_be_a_name_is_refused_with_its_flag():
    with pytest.raises(ConfigError, match="--output-spaces cannot be 'MNI:large'"):
        AnatConfig(output_spaces=("MNI:large",))


def test_a_preprocessed_series_goes_by_the_transforms_that_came_with_it(config, phantom, tmp_path):
    write_qsiprep_tree(phantom, tmp_path / "qsiprep")
    head, mask = config.anat.anat_template.split(",")
    named = tmp_path / "tpl-MNI152NLin2009cAsym_T1w.nii.gz"
    named.write_bytes(Path(head).read_bytes())
    anat = replace(
        config.anat,
        anat_template=f"{named},{mask}",
        output_spaces=("MNI152NLin2009cAsym", "ACPC"),
        atlases=(config.anat.atlases[0].replace("tpl-Turned_atlas-", ""),),
    )
    for extension in (".nii.gz", ".tsv"):
        source = Path(config.anat.atlases[0].replace(".nii.gz", extension))
        Path(anat.atlases[0].replace(".nii.gz", extension)).write_bytes(source.read_bytes())
    execution = replace(config.execution, derivatives={"qsiprep": tmp_path / "qsiprep"})
    changed = replace(config, execution=execution, anat=anat)
    (one,) = open_source(changed, ["01"]).series_of("01", changed, {})
    plan = plan_series(one, changed)
    assert not plan.anat.undelivered
    workflow = init_participant_wf(label="01", plans=[plan], config=changed)
    inputs = {
        node.fullname.split(".")[-2]: node.inputs.get()
        for node in workflow._get_all_nodes()
        if node.name == "inputnode"
    }
    there = inputs["space_MNI152NLin2009cAsym_wf"]["dwi_to_template_file"]
    assert there.endswith("from-ACPC_to-MNI152NLin2009cAsym_mode-image_xfm.h5")
    back = inputs["atlas_Tissue_wf"]["template_to_dwi_file"]
    assert back.endswith("from-MNI152NLin2009cAsym_to-ACPC_mode-image_xfm.h5")
    assert "sub-01/dwi/sub-01_space-MNI152NLin2009cAsym_dwiref.nii.gz" in _sinks(workflow)
    refused = plan_anat(one, replace(anat, output_spaces=("T1w",)))
    assert "it lies in ACPC" in refused.undelivered[0]
