"""From raw images to streamlines and the page, on a phantom small enough for a test."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids.layout import BIDSLayout, Query
from saved_files import broken_uris, saved_files, sidecars
from scipy.interpolate import CubicSpline
from scipy.ndimage import binary_dilation
from shd_workflows.reports_only import remake_pages

from shd_bids.bids.files import gzip_trailer
from shd_bids.bids.pybids_config import pybids_config_file
from shd_bids.testing.geometry import BUNDLES
from shd_bids.testing.truth import read_truth

MODELS = ("csd", "shd-tv")
WANTED = ("callosum", "corticospinal-left")
TRACTS = "sub-01_space-orig_model-csd_track-probabilistic"


def _run(bids_dir, root, *more, name="out", work="work", formats=("tck", "trx", "trk")) -> str:
    """Run everything, the network for a few steps only; give what was said."""
    command = [
        *(sys.executable, "-m", "shd_bids.cli.run", bids_dir, root / name, "participant"),
        *("-w", root / work, "--fod-model", *MODELS, "--shd-steps", 20, "--lmax", 6),
        *("--n-streamlines", 100, "--max-angle-deg", 45, "--device", "cpu"),
        *("--atlases", root / "Halves_space-orig_dseg.nii.gz", "--model-bundles", root / "models"),
        *("--tractogram-format", *formats, "--omp-nthreads", 1, *more),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1] == "shd-bids finished: 1 of 1 participant(s)."
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def out(tiny_phantom_dir, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    _write_atlas(tiny_phantom_dir, root)
    _write_models(tiny_phantom_dir, root / "models")
    _run(tiny_phantom_dir, root)
    return root / "out"


def _write_atlas(bids_dir: Path, folder: Path) -> None:
    """Write the grey matter of the left and of the right as an atlas."""
    raw = nib.load(bids_dir / "sub-01/dwi/sub-01_dwi.nii.gz")
    grey = read_truth(bids_dir).tissue[..., 1] > 0.3
    across = np.tensordot(raw.affine[0, :3], np.indices(grey.shape), axes=1) + raw.affine[0, 3]
    labels = np.where(grey, 1 + (across > across.mean()), 0).astype(np.int16)
    nib.Nifti1Image(labels, raw.affine).to_filename(folder / "Halves_space-orig_dseg.nii.gz")
    (folder / "Halves_space-orig_dseg.tsv").write_text("index\tname\n1\tleft\n2\tright\n")


def _write_models(bids_dir: Path, folder: Path) -> None:
    """Write streamlines beside the middle of the phantom's bundles."""
    folder.mkdir()
    raw = nib.load(bids_dir / "sub-01/dwi/sub-01_dwi.nii.gz")
    centre = nib.affines.apply_affine(raw.affine, (np.array(raw.shape[:3]) - 1) / 2)
    generator, whole = np.random.default_rng(0), []
    for bundle in BUNDLES:
        knots = np.asarray(bundle.points_mm, dtype=float)
        middle = CubicSpline(np.linspace(0, 1, len(knots)), knots)(np.linspace(0.1, 0.9, 40))
        beside = generator.normal(0, 0.4 * min(bundle.radii_mm), (30, 1, 3))
        lines = (middle + beside + centre).astype(np.float32)
        whole.extend(lines)
        if bundle.name in WANTED:
            _save_lines(lines, folder / f"{bundle.name}.tck")
    _save_lines(whole, folder / "whole_brain.tck")


def _save_lines(lines, file: Path) -> None:
    nib.streamlines.save(nib.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4)), file)


def _tracts_sidecar(out: Path, rest: str) -> dict:
    return json.loads((out / f"sub-01/dwi/{TRACTS}_{rest}.json").read_text())


def _image(out: Path, name: str) -> nib.Nifti1Image:
    return nib.load(out / f"sub-01/dwi/sub-01_space-orig_{name}.nii.gz")


@pytest.mark.parametrize("model", ["csd", "shdtv"])
def test_every_model_has_its_images_on_the_grid_of_the_input(out, tiny_phantom_dir, model):
    raw = nib.load(tiny_phantom_dir / "sub-01/dwi/sub-01_dwi.nii.gz")
    names = [f"param-{name}" for name in ("peaks", "afd", "nufo", "gfa", "rmse", "dec")]
    for name in [*names, "param-fod_label-WM", "param-fraction_label-WM"]:
        image = _image(out, f"model-{model}_{name}_dwimap")
        assert image.shape[:3] == raw.shape[:3]
        np.testing.assert_allclose(image.affine, raw.affine, atol=1e-4)
        if name != "param-peaks":  # there NaN says that there is no peak, as in MRtrix3
            assert np.isfinite(image.get_fdata()).all()


def _listed() -> tuple[set[str], set[str]]:
    """Read the list of files: those that must be there, and those that depend on the machine."""
    lines = Path(__file__).with_name("manifests").joinpath("end_to_end.txt").read_text().split("\n")
    must = {line for line in lines if line and not line.endswith("?")}
    return must, {line.removesuffix(" ?") for line in lines if line.endswith("?")}


def test_the_files_on_disk_are_those_that_are_listed_and_no_others(out):
    must, may = _listed()
    found = set(saved_files(out))
    assert sorted(must - found) == []
    assert sorted(found - must - may) == []
    assert {file.name for file in out.iterdir()} == {
        *(".bidsignore", "README.md", "dataset_description.json"),
        *("logs", "sub-01", "sub-01.html"),
    }


def test_every_data_file_has_a_sidecar_whose_sources_all_exist(out):
    description = json.loads((out / "dataset_description.json").read_text())
    links = {
        name: Path(url.removeprefix("file://")) for name, url in description["DatasetLinks"].items()
    }
    assert broken_uris(out, links) == []
    for path, sidecar in sidecars(out).items():
        assert sidecar["Sources"], path
        assert sidecar["SoftwareVersion"].startswith("shd-bids "), path
        image = nib.load(out / path) if path.endswith(".nii.gz") else None
        if image is None:
            continue
        assert sidecar["SpatialReference"], path
        if path.endswith("_dwimap.nii.gz"):
            assert {"Model", "Units"} <= set(sidecar), path
            assert (image.ndim == 3) or sidecar["OrientationEncoding"]["EncodingAxis"] == 3, path


def test_every_table_has_a_sidecar_that_describes_its_columns(out):
    for path, sidecar in sidecars(out).items():
        if path.endswith(".tsv"):
            columns = (out / path).read_text().splitlines()[0].split("\t")
            matrix = path.endswith("_connectivity.tsv") and "_desc-nodes_" not in path
            assert set(columns[:1] if matrix else columns) <= set(sidecar), path


def test_pybids_finds_an_fodf_and_reads_its_sidecar(out):
    config = [pybids_config_file(), "bids", "derivatives"]
    layout = BIDSLayout(out, validate=False, is_derivative=True, config=config)
    (file,) = layout.get(model="shdtv", param="fod", label="WM", extension=".nii.gz")
    assert file.get_metadata()["OrientationEncoding"]["SphericalHarmonicDegree"] == 6
    (weights,) = layout.get(suffix="model", desc="weights", extension=".safetensors")
    assert weights.get_metadata()["BValues"] == [0.0, 1000.0]
    (tracts,) = layout.get(suffix="tractogram", extension=".tck", bundle=Query.NONE)
    assert tracts.get_metadata()["StreamlineCount"] == 100


@pytest.mark.needs_tool("bids-validator-deno")
def test_the_validator_finds_no_error(out):
    command = ["bids-validator-deno", "--format", "json", str(out)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    issues = json.loads(said)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_the_verdict_on_the_gradients_stands_beside_the_series_and_its_measures(out):
    folder = out / "sub-01/dwi"
    for name in ("space-orig_desc-preproc_dwi", "desc-image_qc"):
        sidecar = json.loads((folder / f"sub-01_{name}.json").read_text())
        assert "fibre coherence" in sidecar["GradientCheck"]["Verdict"]
        assert "FSL's rule" in sidecar["GradientConventionReason"]
    header, row = (folder / "sub-01_desc-image_qc.tsv").read_text().splitlines()
    table = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert set(table) < set(sidecar)
    assert 0 <= float(table["t1_dice_distance"]) < 1


def test_the_sidecar_of_an_fodf_holds_its_basis_its_response_and_its_lobe(out):
    stem = "sub-01_space-orig_model-shdtv_param-fod_label-WM_dwimap"
    sidecar = json.loads((out / f"sub-01/dwi/{stem}.json").read_text())
    encoding = sidecar["OrientationEncoding"]
    assert encoding["SphericalHarmonicBasis"] == encoding["SphericalHarmonicsBasis"] == "mrtrix3"
    assert encoding["SphericalHarmonicDegree"] == 6
    assert len(sidecar["ResponseFunction"]["Coefficients"]) == 2
    assert len(sidecar["FibreLobe"]) == 4
    assert sidecar["RandomSeed"] == 0


def test_fractions_of_the_tissues_sum_to_one_in_the_mask(out):
    mask = _image(out, "desc-brain_mask").get_fdata() > 0
    total = sum(
        _image(out, f"model-shdtv_param-fraction_label-{tissue}_dwimap").get_fdata()
        for tissue in ("WM", "CSF")
    )
    inside = total[mask & (total > 0)]
    np.testing.assert_allclose(inside, 1.0, atol=1e-3)
    assert not total[~mask].any()


def test_streamlines_end_in_the_brain_and_leave_it_by_less_than_a_voxel(out):
    file = out / "sub-01/dwi/sub-01_space-orig_model-csd_track-probabilistic_tractogram.tck"
    streamlines = nib.streamlines.load(file).streamlines
    image = _image(out, "desc-brain_mask")
    mask = image.get_fdata() > 0
    world_to_vox = np.linalg.inv(image.affine)

    def share_in(volume, points):
        voxels = np.rint(points @ world_to_vox[:3, :3].T + world_to_vox[:3, 3]).astype(int)
        return volume[tuple(voxels.T)].mean()

    ends = np.concatenate([line[[0, -1]] for line in streamlines])
    assert share_in(mask, ends) == 1.0
    # between two voxels inside, the interpolated field can reach half a voxel (2 mm) outside
    assert share_in(binary_dilation(mask), streamlines.get_data()) == 1.0


def test_all_formats_hold_the_streamlines_that_the_sidecar_counts(out):
    stem = out / f"sub-01/dwi/{TRACTS}_tractogram"
    sidecar = _tracts_sidecar(out, "tractogram")
    assert sidecar["StreamlineCount"] == 100
    assert sidecar["Settings"]["TissueSource"] == "T1w"
    assert "bids::sub-01/anat/sub-01_space-orig_probseg.nii.gz" in sidecar["Sources"]
    tck, trk = (nib.streamlines.load(f"{stem}.{kind}").streamlines for kind in ("tck", "trk"))
    assert len(tck) == len(trk) == 100
    np.testing.assert_allclose(tck.get_data(), trk.get_data(), atol=1e-3)
    assert Path(f"{stem}.trx").stat().st_size > 0


def test_the_connectome_counts_what_its_sidecar_says(out):
    name = "seg-Halves_desc-count_connectivity"
    lines = (out / f"sub-01/dwi/{TRACTS}_{name}.tsv").read_text().splitlines()
    assert lines[0] == "name\tleft\tright"
    counts = np.array([line.split("\t")[1:] for line in lines[1:]], dtype=int)
    np.testing.assert_array_equal(counts, counts.T)
    sidecar = _tracts_sidecar(out, name)
    assert np.triu(counts).sum() == sidecar["AssignedStreamlineCount"] > 0
    assert sidecar["StreamlineCount"] == 100
    assert sidecar["Units"] == "1"


def test_weights_are_written_where_there_is_a_program_for_them(out):
    file = out / f"sub-01/dwi/{TRACTS}_desc-weights_tractogram.tsv"
    assert file.is_file() == (shutil.which("tcksift2") is not None)
    if file.is_file():
        assert len(file.read_text().splitlines()) == 101
        assert _tracts_sidecar(out, "desc-weights_tractogram")["WeightsMethod"] == "SIFT2"


def test_every_model_has_a_row_and_every_bundle_that_was_found_a_file(out):
    lines = (out / f"sub-01/dwi/{TRACTS}_desc-bundles_tractogram.tsv").read_text().splitlines()
    counts = {line.split("\t")[0]: int(line.split("\t")[1]) for line in lines[1:]}
    assert set(counts) == {name.replace("-", "") for name in WANTED}
    assert counts["callosum"] > 0
    for label, count in counts.items():
        file = out / f"sub-01/dwi/{TRACTS}_bundle-{label}_tractogram.tck"
        assert file.is_file() == (count > 0)
        if count:
            sidecar = _tracts_sidecar(out, f"bundle-{label}_tractogram")
            assert sidecar["StreamlineCount"] == count
            assert sidecar["Settings"]["RegistrationTarget"] == "whole brain"


def test_the_page_shows_every_figure_that_exists(out):
    page = (out / "sub-01.html").read_text()
    figures = sorted((out / "sub-01/figures").iterdir())
    pictured = ("gradients", "mask", "denoising", "response", "fodf", "peaks", "loss", "dec",
                "tracts", "slabs", "connectomes", "bundles", "profiles")  # fmt: skip
    for what in pictured:
        assert any(f"desc-{what}_" in file.name for file in figures), what
    for file in figures:
        if file.suffix != ".html":
            assert file.name in page, file.name
    assert "No errors to report" in page


@pytest.mark.needs_tool("mrinfo")
def test_mrtrix3_reads_the_harmonics(out):
    file = out / "sub-01/dwi/sub-01_space-orig_model-shdtv_param-fod_label-WM_dwimap.nii.gz"
    size = subprocess.run(["mrinfo", "-size", file], capture_output=True, text=True, check=True)
    assert size.stdout.split() == ["18", "18", "14", "28"]


def test_sidecars_hold_what_a_later_run_asks_for(out):
    folder = out / "sub-01/dwi"
    saved = {
        what: gzip_trailer(folder / f"sub-01_space-orig_{name}.nii.gz")[0]
        for what, name in (("Series", "desc-preproc_dwi"), ("Mask", "desc-brain_mask"))
    }
    for name in ("param-response_label-WM", "model-csd_param-fod_label-WM"):
        sidecar = json.loads((folder / f"sub-01_space-orig_{name}_dwimap.json").read_text())
        assert sidecar["SourceChecksums"] == saved
        assert sidecar["Methods"]
    weights = folder / "sub-01_space-orig_model-shdtv_desc-weights_model.json"
    training = json.loads(weights.read_text())["Training"]
    assert training["step"][-1] == 20
    assert len(training["loss"]["total"]) == len(training["step"])


def test_pages_are_assembled_anew_from_what_a_run_has_left(out):
    before = {file: file.stat().st_mtime_ns for file in (out / "sub-01/dwi").iterdir()}
    page, text = out / "sub-01.html", (out / "logs/CITATION.md").read_text()
    html = page.read_text()
    page.unlink()
    shutil.rmtree(out / "logs")
    (outcome,) = remake_pages(out)
    assert outcome.finished
    assert page.read_text() == html
    assert (out / "logs/CITATION.md").read_text() == text
    assert before == {file: file.stat().st_mtime_ns for file in (out / "sub-01/dwi").iterdir()}


def test_a_later_run_makes_nothing_but_the_streamlines_and_gets_the_same(out, tiny_phantom_dir):
    taken = ("-d", f"shdbids={out}")
    said = _run(tiny_phantom_dir, out.parent, *taken, name="later", work="later-work")
    started = {line.split()[-2].rstrip(":") for line in said.splitlines() if "started" in line}
    assert started
    assert {name.split("_")[0] for name in started} <= {
        *("track", "map", "convert", "weigh", "build", "recognise", "describe", "plot", "gather"),
    }
    later = out.parent / "later"
    made = {file.name for file in (later / "sub-01/dwi").iterdir()}
    assert made == {file.name for file in (out / "sub-01/dwi").glob("*track-*")}
    for rest in ("tractogram.tck", "seg-Halves_desc-count_connectivity.tsv"):
        one, other = ((folder / f"sub-01/dwi/{TRACTS}_{rest}") for folder in (out, later))
        assert one.read_bytes() == other.read_bytes()
    fod = "sub-01/dwi/sub-01_space-orig_model-csd_param-fod_label-WM_dwimap.nii.gz"
    assert f"bids:shdbids:{fod}" in _tracts_sidecar(later, "tractogram")["Sources"]
    links = json.loads((later / "dataset_description.json").read_text())["DatasetLinks"]
    assert links["shdbids"] == out.resolve().as_uri()
    page = (later / "sub-01.html").read_text()
    for what in ("motion", "response", "fodf", "loss", "tracts"):
        assert f"desc-{what}_dwi" in page


def test_no_streamlines_go_through_the_whole_stage_and_nothing_before_it_runs_again(
    out, tiny_phantom_dir
):
    nowhere = ("--seed-from", "interface", "--min-length-mm", 200)
    said = _run(tiny_phantom_dir, out.parent, *nowhere, name="none", formats=["trx"])
    assert "track_streamlines: started" in said
    assert "fit_fodf: started" not in said
    assert "No streamline was found" in said
    empty = out.parent / "none"
    sidecar = _tracts_sidecar(empty, "tractogram")
    assert sidecar["StreamlineCount"] == 0
    assert sidecar["Settings"]["SeedRegion"] == "interface"
    stem = empty / f"sub-01/dwi/{TRACTS}"
    assert not Path(f"{stem}_tractogram.tck").exists()
    counts = Path(f"{stem}_seg-Halves_desc-count_connectivity.tsv").read_text()
    assert counts == "name\tleft\tright\nleft\t0\t0\nright\t0\t0\n"
    page = (empty / "sub-01.html").read_text()
    for what in ("tracts", "slabs", "connectomes", "bundles", "profiles"):
        assert f"desc-{what}_dwi" in page
