"""Folders of model bundles are read, and what cannot be used is said with the flag and the file."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.streamlines import Tractogram
from trx.trx_file_memmap import TrxFile
from trx.trx_file_memmap import save as save_trx

from shd_bids.errors import ConfigError
from shd_bids.tractography.model_bundles import find_model_files, read_model

GENERATOR = np.random.default_rng(0)
LINES = [GENERATOR.uniform(-60, 60, (n, 3)).astype(np.float32) for n in (12, 5, 30)]


def save(file, lines=LINES):
    file.parent.mkdir(parents=True, exist_ok=True)
    tractogram = Tractogram(lines, affine_to_rasmm=np.eye(4))
    if file.suffix == ".trx":
        reference = nib.Nifti1Image(np.zeros((9, 9, 9), np.int8), np.diag([-2.0, 2.0, 2.0, 1.0]))
        save_trx(TrxFile.from_lazy_tractogram(tractogram.to_world(), reference), str(file))
    else:
        nib.streamlines.save(tractogram, file)
    return file


@pytest.mark.parametrize("suffix", [".trk", ".tck", ".trx", ".TRK"])
def test_points_come_back_in_ras_mm(suffix, tmp_path):
    (batch,) = read_model(save(tmp_path / f"a{suffix}"))
    for line, back in zip(LINES, batch, strict=True):
        np.testing.assert_allclose(back, line, atol=1e-3)


def test_labels_are_letters_and_digits_and_the_whole_brain_is_no_bundle(tmp_path):
    for name in ("AF_L.trk", "C-2.tck", "whole_brain.trk"):
        save(tmp_path / name)
    files = find_model_files(tmp_path)
    assert {label: file.name for label, file in files.bundles.items()} == {
        "AFL": "AF_L.trk",
        "C2": "C-2.tck",
    }
    assert files.whole_brain == tmp_path / "whole_brain.trk"


def test_the_atlas_of_hcp_842_is_read_as_shipped(tmp_path):
    save(tmp_path / "bundles" / "CST_L.trk")
    save(tmp_path / "whole_brain" / "whole_brain_MNI.trk")
    files = find_model_files(tmp_path)
    assert list(files.bundles) == ["CSTL"]
    assert files.whole_brain == tmp_path / "whole_brain" / "whole_brain_MNI.trk"


def test_a_folder_without_models_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"--model-bundles .*no model bundle"):
        find_model_files(tmp_path)
    with pytest.raises(ConfigError, match=r"--model-bundles .*no such folder"):
        find_model_files(tmp_path / "away")


def test_two_bundles_of_one_label_are_refused(tmp_path):
    for name in ("AF_L.trk", "AF-L.tck"):
        save(tmp_path / name)
    with pytest.raises(ConfigError, match=r"AF_L\.trk would have the label 'AFL', as AF-L\.tck"):
        find_model_files(tmp_path)


def test_two_whole_brains_are_refused(tmp_path):
    for name in ("a.trk", "whole_brain.trk", "whole_brain_MNI.trk"):
        save(tmp_path / name)
    with pytest.raises(ConfigError, match="2 models of the whole brain"):
        find_model_files(tmp_path)


@pytest.mark.parametrize("name", ["a.trk", "a.tck", "a.trx"])
@pytest.mark.parametrize("n_byte", [0, 30])
def test_a_file_that_is_no_tractogram_is_named(name, n_byte, tmp_path):
    (tmp_path / name).write_bytes(b"x" * n_byte)
    with pytest.raises(ConfigError, match=rf"--model-bundles .*: {name} cannot be read"):
        list(read_model(tmp_path / name))


@pytest.mark.parametrize("suffix", [".trk", ".tck"])
def test_a_truncated_file_is_named(suffix, tmp_path):
    file = save(tmp_path / f"a{suffix}")
    file.write_bytes(file.read_bytes()[:-70])
    with pytest.raises(ConfigError, match=rf"a{suffix} cannot be read"):
        list(read_model(file))


@pytest.mark.parametrize("lines", [[], [np.zeros((1, 3), np.float32)]])
def test_a_file_without_streamlines_is_named(lines, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.trk holds no streamlines"):
        list(read_model(save(tmp_path / "a.trk", lines)))
