"""The graph of the structural image: built without a file, and run on the phantom's head."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from anat.heads import make_head, rigid, seen_at, upright_grid
from shd_workflows.anat import init_anat_wf

from shd_bids.anat.brain import dice
from shd_bids.anat.template import Template
from shd_bids.anat.transforms import read_transform, to_matrix
from shd_bids.anat.volume import Grid, Volume
from shd_bids.interfaces.nifti import read_array, read_mask


def _build(template: Template | None, name: str = "anat_wf"):
    return init_anat_wf(template=template, size_gb=0.001, n_threads=1, name=name)


def test_without_a_template_nothing_is_brought_to_one():
    names = _build(None).list_node_names()
    assert "skull_strip" in names
    assert "register_to_template" not in names


def test_with_a_template_the_mask_does_not_depend_on_the_series(tmp_path):
    file = tmp_path / "tpl-X_T1w.nii.gz"
    file.touch()
    workflow = _build(Template("X", file, file))
    assert "register_to_template" in workflow.list_node_names()
    strip = workflow.get_node("skull_strip")
    assert not any("dwi" in node.name for node, _ in workflow._graph.in_edges(strip))
    assert "template X" in workflow.visit_desc()


@dataclass(frozen=True)
class Scene:
    """A T1w image, a b=0 image, a template, and the truth."""

    files: dict[str, str]
    template: Template
    to_dwi: np.ndarray
    mask: np.ndarray
    tissue: np.ndarray
    grid: Grid


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    phantom, head = make_head()
    dwi = Grid(phantom.mask.shape, phantom.affine)
    centre = dwi.centre_ras
    to_dwi = rigid((6, -5, 4), (4, -5, 3), centre)

    def save(name: str, data: np.ndarray, affine: np.ndarray) -> str:
        nib.Nifti1Image(data.astype(np.float32), affine).to_filename(folder / name)
        return str(folder / name)

    t1w_affine = to_dwi @ phantom.affine  # the head was carried off, its grid with it
    noise = np.random.default_rng(0).normal(0, 20, phantom.mask.shape)
    t1w = np.abs(head.data + noise)
    brain = Volume(phantom.mask, phantom.affine)
    other = rigid((-5, 4, 6), (2, 3, -4), centre)
    other[:3, :3] *= 1.07
    template_grid = upright_grid(orientation="LAS")
    template_file = save("t.nii.gz", seen_at(head, other, template_grid), template_grid.affine)
    mask_file = save("m.nii.gz", seen_at(brain, other, template_grid) > 0.5, template_grid.affine)
    return Scene(
        {
            "t1w_file": save("t1w.nii.gz", t1w, t1w_affine),
            "b0_file": save("b0.nii.gz", phantom.dwi[..., 0], phantom.affine),
            "dwi_mask_file": save("mask.nii.gz", phantom.mask, phantom.affine),
        },
        Template("Turned", Path(template_file), Path(mask_file)),
        to_dwi,
        phantom.mask,
        phantom.truth.tissue,
        dwi,
    )


def _run(scene: Scene, template: Template | None, folder: Path) -> dict:
    workflow = _build(template)
    workflow.base_dir = str(folder)
    for name, file in scene.files.items():
        setattr(workflow.inputs.inputnode, name, file)
    nodes = {node.name: node for node in workflow.run(plugin="Linear").nodes()}
    return {name: node.result.outputs for name, node in nodes.items()}


def test_brain_tissues_and_position_are_found_through_a_template(scene, tmp_path):
    out = _run(scene, scene.template, tmp_path)
    assert out["skull_strip"].method == "template"
    said = Path(out["plot_anatomy"].out_files["brain"]).read_text()
    assert "template (" in said
    assert "alert" not in said
    mask = read_mask(out["skull_strip"].mask_file)
    assert dice(mask, scene.mask) > 0.9
    found = to_matrix(read_transform(Path(out["register_to_dwi"].t1w_to_dwi_file)))
    points = np.vstack([scene.grid.affine[:3, :3] @ [[10, 25], [10, 25], [8, 20]], np.ones((1, 2))])
    points[:3] += scene.grid.affine[:3, 3:]
    assert np.linalg.norm((found - scene.to_dwi) @ points, axis=0).max() < 1.0
    tissue = read_array(out["segment_tissue"].tissue_file)
    true, seen = scene.tissue.argmax(-1), tissue.argmax(-1)
    for kind in range(3):
        assert dice((true == kind) & scene.mask, (seen == kind) & mask) > 0.8
    assert out["compare_masks"].dice_distance < 0.1
    brought = read_array(out["tissue_to_dwi"].out_file)
    assert brought.shape == (*scene.grid.shape, 3)
    assert brought.sum(axis=-1).max() <= 1.001
    assert Path(out["register_to_template"].t1w_to_template_file).suffix == ".h5"
    assert all(Path(file).stat().st_size > 0 for file in out["plot_anatomy"].out_files.values())


def test_without_a_template_the_mask_comes_from_the_series(scene, tmp_path):
    out = _run(scene, None, tmp_path)
    assert out["skull_strip"].method == "dwi"
    said = Path(out["plot_anatomy"].out_files["brain"]).read_text()
    assert "alert-warning" in said
    assert dice(read_mask(out["skull_strip"].mask_file), scene.mask) > 0.9
