"""The anatomy that came with a preprocessed series is used as it is, on the grid of the series."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype import Workflow
from scipy.ndimage import binary_erosion
from shd_workflows.anat_plan import AnatPlan
from shd_workflows.given_anat import init_given_anat_wf
from shd_workflows.participant import init_participant_wf
from shd_workflows.plan import plan_series
from shd_workflows.reports import describe_series
from shd_workflows.spaces import given_transforms, init_atlas_wf

from shd_bids.anat.atlas import Atlas
from shd_bids.anat.template import Template
from shd_bids.anat.volume import Grid
from shd_bids.bids.preprocessed import find_preprocessed
from shd_bids.config import AnatConfig, ExecutionConfig, RunConfig
from shd_bids.errors import AnatomyError
from shd_bids.interfaces.given_anatomy import TakeOverTissue
from shd_bids.interfaces.nifti import read_affine, read_array, read_mask
from shd_bids.testing.qsiprep_tree import TO_TEMPLATE, write_qsiprep_tree
from shd_bids.testing.scan import make_phantom
from shd_bids.testing.truth import sample_truth

SHAPE = (16, 16, 12)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(SHAPE, 4.5, shells={0: 1, 1000: 6})


def _find(phantom, folder: Path, **options):
    (series,) = find_preprocessed(write_qsiprep_tree(phantom, folder, **options), "01")
    return series


@pytest.fixture
def take_over(tmp_path):
    def run(series, **changed):
        anatomy = replace(series.anatomy, **changed)
        mask = {} if anatomy.mask_file is None else {"mask_file": anatomy.mask_file}
        node = TakeOverTissue(
            tissue_files=list(anatomy.tissue_files),
            labels=anatomy.dseg_labels,
            reference_file=series.mask_file,
            **mask,
        )
        (tmp_path / "node").mkdir(exist_ok=True)
        return node.run(cwd=str(tmp_path / "node")).outputs

    return run


def _truth(series) -> np.ndarray:
    """Give the tissues of the phantom at the voxels of the series."""
    image = nib.load(series.mask_file)
    return sample_truth(image.shape, image.affine)[0].tissue


def test_on_the_same_grid_every_voxel_has_the_tissue_of_its_label(phantom, take_over, tmp_path):
    series = _find(phantom, tmp_path / "q")
    out = take_over(series)
    labels = np.asarray(nib.load(series.anatomy.dseg_file).dataobj)
    tissue = read_array(out.tissue_file)
    for index, name in enumerate(("WM", "GM", "CSF")):
        np.testing.assert_array_equal(
            tissue[..., index], labels == series.anatomy.dseg_labels[name]
        )
    given = read_mask(series.anatomy.mask_file)
    np.testing.assert_array_equal(read_mask(out.mask_file), given)


@pytest.mark.parametrize(("space", "probsegs"), [("ACPC", False), ("T1w", True)])
def test_from_a_finer_grid_every_voxel_has_the_share_of_each_tissue(
    phantom, take_over, tmp_path, space, probsegs
):
    series = _find(phantom, tmp_path / "q", space=space, anat_split=2, probsegs=probsegs)
    assert len(series.anatomy.tissue_files) == (3 if probsegs else 1)
    out = take_over(series)
    tissue, truth = read_array(out.tissue_file), _truth(series)
    np.testing.assert_allclose(read_affine(out.tissue_file), read_affine(series.dwi_file))
    # at its rim the truth leaves out what lies outside the brain
    brain = binary_erosion(truth.sum(axis=-1) > 0.5)
    assert np.abs(tissue - truth)[brain].mean() < 0.06
    whole = brain & (truth.max(axis=-1) > 0.9)
    assert (tissue.argmax(-1) == truth.argmax(-1))[whole].mean() > 0.97
    assert tissue.min() >= 0
    assert tissue.sum(axis=-1).max() < 1.001
    assert (read_mask(out.mask_file) == (truth.sum(axis=-1) > 0.5)).mean() > 0.97


def test_without_a_mask_the_brain_is_where_tissue_is(phantom, take_over, tmp_path):
    series = _find(phantom, tmp_path / "q")
    out = take_over(series, mask_file=None)
    np.testing.assert_array_equal(read_mask(out.mask_file), read_array(out.tissue_file).any(-1))


def test_a_segmentation_with_other_labels_is_refused(phantom, take_over, tmp_path):
    series = _find(phantom, tmp_path / "q")
    words = r"_dseg\.nii\.gz holds the labels 0, 1, 2, 3; expected 2 .*--skip-anat"
    with pytest.raises(AnatomyError, match=words):
        take_over(series, dseg_labels={"WM": 2, "GM": 3, "CSF": 41})


@pytest.mark.parametrize("space", ["ACPC", "T1w"])
def test_an_atlas_comes_to_the_series_through_the_transforms_handed_on(phantom, tmp_path, space):
    """A ball in the template is where the matrix of the phantom's transforms puts it."""
    series = _find(phantom, tmp_path / "q", space=space)
    grid = Grid(SHAPE, read_affine(series.dwi_file))
    centre = TO_TEMPLATE @ [*grid.centre_ras, 1.0]
    atlas_affine = np.diag([2.0, 2.0, 2.0, 1.0])
    atlas_affine[:3, 3] = centre[:3] - 40
    world = np.indices((41, 41, 41)).T @ atlas_affine[:3, :3].T + atlas_affine[:3, 3]
    ball = np.linalg.norm(world - centre[:3], axis=-1).T < 15
    atlas_file = tmp_path / "atlas.nii.gz"
    nib.Nifti1Image(7 * ball.astype(np.uint8), atlas_affine).to_filename(atlas_file)

    table_file = tmp_path / "atlas.tsv"
    table_file.write_text("index\tname\n7\tball\n")
    there = str(series.anatomy.template)
    plan = AnatPlan(template=Template(there, atlas_file), given=series.anatomy)
    atlas = Atlas("Ball", atlas_file, table_file, there)
    atlas_wf = init_atlas_wf(atlas=atlas, anat=plan, n_threads=1)
    way = str(given_transforms(series.anatomy)["template_to_dwi"])
    anat_wf = init_given_anat_wf(anatomy=series.anatomy, size_gb=0.001)
    here = str(series.mask_file)
    atlas_wf.inputs.inputnode.trait_set(b0_file=here, template_to_dwi_file=way)
    anat_wf.inputs.inputnode.trait_set(b0_file=here, dwi_mask_file=here)
    workflow = Workflow(name="w", base_dir=str(tmp_path))
    workflow.add_nodes([anat_wf, atlas_wf])
    nodes = {node.name: node.result.outputs for node in workflow.run(plugin="Linear").nodes()}
    brought = read_array(nodes["bring_atlas"].out_file)
    voxels = np.indices(SHAPE).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    moved = voxels @ TO_TEMPLATE[:3, :3].T + TO_TEMPLATE[:3, 3]
    far = np.linalg.norm(moved - centre[:3], axis=-1).T
    assert (brought[far < 13] == 7).all()
    assert (brought[far > 17] == 0).all()
    assert nodes["compare_masks"].dice_distance == pytest.approx(0, abs=1e-6)
    figures = nodes["plot_anatomy"].out_files
    assert set(figures) == {"anatomy", "coregistration", "brain"}
    assert "it came with the preprocessed series" in Path(figures["brain"]).read_text()


def test_without_a_t1w_image_the_tissues_are_pictured_on_the_series_alone(phantom, tmp_path):
    series = _find(phantom, tmp_path / "q")
    anatomy = replace(series.anatomy, t1w_file=None)
    workflow = init_given_anat_wf(anatomy=anatomy, size_gb=0.001)
    workflow.base_dir = str(tmp_path)
    here = str(series.mask_file)
    workflow.inputs.inputnode.trait_set(b0_file=here, dwi_mask_file=here)
    nodes = {node.name: node.result.outputs for node in workflow.run(plugin="Linear").nodes()}
    assert set(nodes["plot_anatomy"].out_files) == {"coregistration", "brain"}


def test_nothing_is_registered_or_segmented(phantom, tmp_path):
    anatomy = _find(phantom, tmp_path / "q").anatomy
    names = init_given_anat_wf(anatomy=anatomy, size_gb=0.001).list_node_names()
    assert not any("regist" in name or "segment" in name or "strip" in name for name in names)


@pytest.fixture
def build(tmp_path):
    """Build the graph over a tree, and say what the page will say of its series."""

    def make(bids_dir: Path, **anat):
        execution = ExecutionConfig(
            bids_dir, tmp_path / "out", work_dir=tmp_path / "work", level="preproc"
        )
        config = RunConfig(execution, anat=AnatConfig(**anat))
        series = find_preprocessed(bids_dir, "01")
        plans = [plan_series(one, config) for one in series]
        workflow = init_participant_wf(label="01", plans=plans, config=config)
        facts = [describe_series(plan, config.preproc) for plan in plans]
        return workflow, facts

    return make


def _paths(workflow, leaf: str) -> list[str]:
    return sorted(
        path
        for node in workflow._get_all_nodes()
        if node.name == leaf
        for path in node.inputs.paths.values()
    )


@pytest.fixture(scope="module")
def small():
    return make_phantom((6, 6, 6), 6.0, shells={0: 1, 1000: 12})


def test_every_session_gets_the_tissues_on_its_own_grid(small, build, tmp_path):
    root = write_qsiprep_tree(small, tmp_path / "q", sessions=["a", "b"], space="T1w")
    workflow, facts = build(root)
    assert _paths(workflow, "ds_tissue_dwi") == [
        f"sub-01/ses-{label}/anat/sub-01_ses-{label}_space-T1w_probseg.nii.gz"
        for label in ("a", "b")
    ]
    assert [fact["Tissue map"] for fact in facts] == ["sub-01_dseg.nii.gz"] * 2
    assert "sub-01_from-T1w_to-MNI" in facts[0]["Transforms to and from a template"]


def test_without_an_anatomy_the_run_goes_on_and_says_so(small, build, tmp_path):
    workflow, (facts,) = build(write_qsiprep_tree(small, tmp_path / "q", anatomy=False))
    assert not any("anat" in name for name in workflow.list_node_names())
    assert facts["Tissue map"] == "not used: none came with the series"


def test_the_anatomy_can_be_passed_over(small, build, tmp_path):
    workflow, (facts,) = build(write_qsiprep_tree(small, tmp_path / "q"), skip_anat=True)
    assert not any("anat" in name for name in workflow.list_node_names())
    assert facts["Tissue map"] == "not used: --skip-anat"


def test_without_a_segmentation_the_transforms_are_still_named(small, build, tmp_path):
    root = write_qsiprep_tree(small, tmp_path / "q")
    (root / "sub-01/anat/sub-01_space-ACPC_dseg.nii.gz").unlink()
    workflow, (facts,) = build(root)
    assert not _paths(workflow, "ds_tissue_dwi")
    assert facts["Tissue map"] == "none came with the series"
    assert "from-ACPC_to-MNI" in facts["Transforms to and from a template"]
