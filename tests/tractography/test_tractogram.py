"""Tractograms are complete on disk in each format, and others read them in the right place."""

import subprocess
import sys

import dipy.io.streamline
import nibabel as nib
import numpy as np
import pytest
import trx.trx_file_memmap
from tractography.fodfs import AFFINES
from tractography.walks import random_walks

from shd_bids.errors import TrackingError
from shd_bids.tractography.grid import Grid
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import convert, read_batches, write_tck

SHAPE = (12, 10, 8)
GRIDS = {name: Grid(affine, SHAPE) for name, affine in AFFINES.items()}
WALKS = random_walks(AFFINES["oblique"], SHAPE)
WEIGHTS = np.random.default_rng(0).uniform(size=len(WALKS))

# Of the child alone: the peak that `resource` tells of begins at that of its parent.
CONVERT_AND_TELL_PEAK = """
import re
from pathlib import Path
import numpy as np
from shd_bids.tractography.grid import Grid
from shd_bids.tractography.tractogram import convert
for kind in ("trx", "trk"):
    convert(Path("walks.tck"), Path(f"walks.{kind}"), Grid(np.eye(4), (9, 9, 9)))
status = Path("/proc/self/status").read_text()
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status).group(1)))
"""


def _read(file) -> Streamlines:
    return Streamlines.of(line for batch in read_batches(file, n_streamline=30) for line in batch)


@pytest.fixture
def tck_file(tmp_path):
    write_tck([WALKS], tmp_path / "walks.tck")
    return tmp_path / "walks.tck"


@pytest.fixture(params=["tck", "trx", "trk"])
def any_file(request, tck_file):
    file = tck_file.with_suffix(f".{request.param}")
    if file != tck_file:
        convert(tck_file, file, GRIDS["oblique"])
    return file


def test_what_is_written_is_read_with_its_settings(tmp_path):
    settings = {"step_mm": 0.9, "method": "probabilistic", "note": "two\nlines"}
    halves = (Streamlines.of(half) for half in (list(WALKS)[:90], list(WALKS)[90:]))
    assert write_tck(halves, tmp_path / "a.tck", settings=settings) == 200
    np.testing.assert_array_equal(_read(tmp_path / "a.tck").points, WALKS.points)
    header = nib.streamlines.load(tmp_path / "a.tck", lazy_load=True).header
    assert header["step_mm"] == "0.9"
    assert header["note"] == "two lines"


def test_every_format_is_read_in_batches_and_in_order(any_file):
    batches = list(read_batches(any_file, n_streamline=70))
    assert [len(batch) for batch in batches] == [70, 70, 60]
    again = _read(any_file)
    np.testing.assert_array_equal(again.n_points, WALKS.n_points)
    np.testing.assert_allclose(again.points, WALKS.points, atol=1e-3)


@pytest.mark.parametrize("name", AFFINES)
def test_trx_is_read_by_its_own_library_in_the_same_place(name, tck_file):
    grid, file = GRIDS[name], tck_file.with_suffix(".trx")
    assert convert(tck_file, file, grid, weights=WEIGHTS) == 200
    theirs = trx.trx_file_memmap.load(str(file))
    np.testing.assert_array_equal(theirs.streamlines._data, WALKS.points)
    np.testing.assert_array_equal(theirs.streamlines._lengths, WALKS.n_points)
    np.testing.assert_allclose(theirs.data_per_streamline["weight"][:, 0], WEIGHTS, rtol=1e-6)
    np.testing.assert_allclose(theirs.header["VOXEL_TO_RASMM"], grid.affine, rtol=1e-6)
    assert tuple(theirs.header["DIMENSIONS"]) == SHAPE
    theirs.close()


@pytest.mark.parametrize("name", AFFINES)
def test_trk_is_read_by_nibabel_in_the_same_place(name, tck_file):
    grid, file = GRIDS[name], tck_file.with_suffix(".trk")
    assert convert(tck_file, file, grid, weights=WEIGHTS) == 200
    theirs = nib.streamlines.load(file)
    np.testing.assert_allclose(theirs.streamlines.get_data(), WALKS.points, atol=1e-3)
    data = theirs.tractogram.data_per_streamline["weight"]
    np.testing.assert_allclose(data[:, 0], WEIGHTS, rtol=1e-6)
    np.testing.assert_allclose(theirs.header["voxel_to_rasmm"], grid.affine, rtol=1e-6)
    assert tuple(theirs.header["dimensions"]) == SHAPE


@pytest.mark.parametrize("kind", ["trx", "trk"])
@pytest.mark.parametrize("name", AFFINES)
def test_dipy_reads_it_in_the_same_place(name, kind, tck_file):
    file = tck_file.with_suffix(f".{kind}")
    convert(tck_file, file, GRIDS[name])
    theirs = dipy.io.streamline.load_tractogram(str(file), "same", bbox_valid_check=False)
    np.testing.assert_allclose(theirs.streamlines.get_data(), WALKS.points, atol=1e-3)
    np.testing.assert_allclose(theirs.affine, GRIDS[name].affine, rtol=1e-6)


def test_a_trx_file_of_half_precision_and_packed_is_read(tck_file, tmp_path):
    convert(tck_file, tmp_path / "full.trx", GRIDS["oblique"])
    full = trx.trx_file_memmap.load(str(tmp_path / "full.trx"))
    full.streamlines._data = full.streamlines._data.astype(np.float16)
    trx.trx_file_memmap.save(full, str(tmp_path / "half.trx"), compression_standard=8)
    full.close()
    again = _read(tmp_path / "half.trx")
    np.testing.assert_array_equal(again.n_points, WALKS.n_points)
    np.testing.assert_allclose(again.points, WALKS.points, atol=0.05)


def test_memory_does_not_grow_with_the_tractogram(tmp_path):
    walks = random_walks(AFFINES["ras"], SHAPE, n=5_000, n_point=120)
    peaks = []
    for n_time in (2, 5):
        write_tck([walks] * n_time, tmp_path / "walks.tck")
        command = [sys.executable, "-c", CONVERT_AND_TELL_PEAK]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 0.5 * 3 * walks.points.nbytes


def test_no_streamline_is_said_and_makes_valid_files(tmp_path, caplog):
    empty = tmp_path / "none.tck"
    assert write_tck([], empty) == 0
    assert "none.tck is empty" in caplog.text
    for kind in ("trx", "trk"):
        assert convert(empty, empty.with_suffix(f".{kind}"), GRIDS["las"]) == 0
        assert f"none.{kind} is empty" in caplog.text
        assert list(read_batches(empty.with_suffix(f".{kind}"))) == []
    assert list(read_batches(empty)) == []
    assert len(trx.trx_file_memmap.load(str(tmp_path / "none.trx")).streamlines) == 0
    assert len(nib.streamlines.load(tmp_path / "none.trk").streamlines) == 0


def test_an_error_on_the_way_leaves_no_file(tmp_path):
    def broken():
        yield WALKS
        raise RuntimeError("tracking broke")

    with pytest.raises(RuntimeError, match="tracking broke"):
        write_tck(broken(), tmp_path / "half.tck")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_byte", [5000, 5001, 5002, 5003])
def test_a_file_that_was_cut_short_is_named(n_byte, any_file, tmp_path):
    cut = tmp_path / f"cut{any_file.suffix}"
    cut.write_bytes(any_file.read_bytes()[:-n_byte])
    with pytest.raises(TrackingError, match=rf"{cut.name} cannot be read as .* to its end"):
        list(read_batches(cut))


def test_a_trk_file_cut_inside_a_number_of_points_is_named(tck_file, tmp_path):
    whole, cut = tmp_path / "walks.trk", tmp_path / "cut.trk"
    convert(tck_file, whole, GRIDS["oblique"])
    last = 4 + 12 * int(WALKS.n_points[-1])
    cut.write_bytes(whole.read_bytes()[: -last + 2])
    with pytest.raises(TrackingError, match=r"cut\.trk cannot be read as TRK"):
        list(read_batches(cut))


def test_other_names_and_other_numbers_of_weights_are_refused(tck_file, tmp_path):
    with pytest.raises(TrackingError, match=r"walks\.vtk is no tractogram that can be read"):
        list(read_batches(tmp_path / "walks.vtk"))
    with pytest.raises(TrackingError, match=r"cannot be written as walks\.vtk"):
        convert(tck_file, tmp_path / "walks.vtk", GRIDS["ras"])
    with pytest.raises(TrackingError, match=r"3 weights, but 200 streamlines in walks\.tck"):
        convert(tck_file, tmp_path / "walks.trx", GRIDS["ras"], weights=np.ones(3))
    assert list(tmp_path.iterdir()) == [tck_file]


@pytest.mark.needs_tool("tckstats")
def test_mrtrix_counts_and_measures_the_same(tck_file, tmp_path):
    count = ["tckinfo", "-count", tck_file]
    answer = subprocess.run(count, check=True, capture_output=True, text=True).stdout
    assert "actual count in file: 200" in answer
    dump = ["tckstats", "-quiet", tck_file, "-dump", tmp_path / "lengths.txt"]
    subprocess.run(dump, check=True, capture_output=True)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "lengths.txt"), WALKS.lengths_mm, rtol=1e-5)
