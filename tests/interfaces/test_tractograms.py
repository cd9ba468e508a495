"""The nodes of tractograms write each format and each map under its name."""

import nibabel as nib
import numpy as np
import pytest
from tractography.fodfs import AFFINES
from tractography.walks import random_walks

from shd_bids.errors import TrackingError
from shd_bids.interfaces.tractograms import ConvertTractogram, MapStreamlines
from shd_bids.tractography.tractogram import write_tck

SHAPE = (12, 10, 8)
AFFINE = AFFINES["oblique-las-anisotropic"]
WALKS = random_walks(AFFINE, SHAPE, n=30)


@pytest.fixture
def given(tmp_path):
    write_tck([WALKS], tmp_path / "tracts.tck")
    image = nib.Nifti1Image(np.zeros((*SHAPE, 3), dtype=np.float32), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "series.nii.gz")
    return {
        "tractogram_file": tmp_path / "tracts.tck",
        "reference_file": tmp_path / "series.nii.gz",
    }


def _centre(image) -> np.ndarray:
    """Return where the streamlines are on average, in RAS world mm."""
    data = image.get_fdata()
    place = np.average(np.argwhere(data), axis=0, weights=data[data > 0])
    return image.affine[:3, :3] @ place + image.affine[:3, 3]


def _outputs(node, cwd):
    cwd.mkdir()
    return node.run(cwd=cwd).outputs


@pytest.mark.parametrize("text", ["# from tcksift2\n{}\n", "{}\n"])
def test_formats_come_by_name_with_the_weights_of_a_text_file(text, given, tmp_path):
    weights = np.arange(30) / 8
    separator = " " if text.startswith("#") else "\n"
    (tmp_path / "weights.txt").write_text(text.format(separator.join(map(str, weights))))
    node = ConvertTractogram(
        formats=["tck", "trx", "trk"], weights_file=tmp_path / "weights.txt", **given
    )
    files = _outputs(node, tmp_path / "out").tractogram_files
    assert list(files) == ["tck", "trx", "trk"]
    assert files["tck"] == str(given["tractogram_file"])
    found = nib.streamlines.load(files["trk"]).tractogram.data_per_streamline["weight"]
    np.testing.assert_array_equal(found[:, 0], weights)


def test_a_weights_file_of_another_tractogram_is_refused(given, tmp_path):
    (tmp_path / "weights.txt").write_text("1 2 3")
    node = ConvertTractogram(formats=["trx"], weights_file=tmp_path / "weights.txt", **given)
    with pytest.raises(TrackingError, match="3 weights, but 30 streamlines"):
        _outputs(node, tmp_path / "out")


def test_maps_come_by_name_on_the_grids_that_were_asked_for(given, tmp_path):
    plain = _outputs(MapStreamlines(**given), tmp_path / "plain").map_files
    assert set(plain) == {"tdi", "tdihighres", "ends", "meanlength"}
    half = nib.load(plain["tdihighres"]).header.get_zooms()
    np.testing.assert_allclose(half, min(nib.load(plain["tdi"]).header.get_zooms()) / 2, rtol=1e-5)
    fine = _outputs(MapStreamlines(density_voxel_mm=0.75, **given), tmp_path / "fine").map_files
    tdi, high = nib.load(fine["tdi"]), nib.load(fine["tdihighres"])
    np.testing.assert_allclose(tdi.affine, AFFINE)
    assert tdi.shape == SHAPE
    assert nib.load(fine["meanlength"]).get_data_dtype() == np.float32
    np.testing.assert_allclose(high.header.get_zooms(), 0.75)
    assert high.header["sform_code"] == high.header["qform_code"] == 1
    assert high.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(high.get_qform(), high.get_sform(), atol=1e-5)
    np.testing.assert_allclose(_centre(tdi), _centre(high), atol=0.5)


def test_trx_is_mapped_as_the_tck_it_was_made_from(given, tmp_path):
    node = ConvertTractogram(formats=["trx"], **given)
    trx_file = _outputs(node, tmp_path / "trx").tractogram_files["trx"]
    maps = [
        _outputs(MapStreamlines(**given | {"tractogram_file": file}), tmp_path / name).map_files
        for name, file in (("a", given["tractogram_file"]), ("b", trx_file))
    ]
    one, two = (nib.load(files["tdi"]).get_fdata() for files in maps)
    np.testing.assert_array_equal(one, two)
