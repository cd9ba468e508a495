"""The simulated study has the files and the fates that it promises."""

import numpy as np

from shd_bids.config.file import build_config, read_config_file
from shd_bids.dwi.gradients import read_gradients
from shd_bids.dwi.images import open_image
from shd_bids.response.io import read_response
from shd_bids.testing.study import fate_of, main, write_study


def test_images_gradients_and_responses_can_be_used(tmp_path):
    folder = write_study(tmp_path, 1) / "sub-0001/dwi"
    stem = folder / "sub-0001_space-orig"
    image = open_image(folder / f"{stem.name}_desc-preproc_dwi.nii.gz")
    files = [folder / f"{stem.name}_desc-preproc_dwi.{kind}" for kind in ("bval", "bvec")]
    table = read_gradients(files, "fsl", image.affine)
    assert image.shape == (6, 6, 6, table.n_volume)
    bvals = np.array([0.0, 1000.0, 2500.0])
    file = folder / f"{stem.name}_param-response_label-WM_dwimap.txt"
    response = read_response(file, "WM", bvals)
    assert response.isotropic_signal(0) > response.isotropic_signal(1) > 0


def test_the_settings_of_its_runs_can_be_given_back(tmp_path):
    output_dir = write_study(tmp_path, 1)
    (file,) = output_dir.rglob("shd-bids.toml")
    assert build_config(read_config_file(file)).deconv.fod_models == ("shd-tv", "csd")


def test_the_same_seed_gives_the_same_study(tmp_path):
    tables = [
        (write_study(tmp_path / name, 2, random_seed=seed) / "sub-0002/dwi")
        .joinpath("sub-0002_desc-image_qc.tsv")
        .read_text()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert tables[0] == tables[1] != tables[2]


def test_the_command_says_where_the_study_is(tmp_path, capsys):
    main([str(tmp_path), "--participants", "9", "--sessions", "a"])
    assert str(tmp_path / "out") in capsys.readouterr().out
    assert fate_of(9) == "not processed"
    assert not (tmp_path / "out/sub-0009").exists()
    assert (tmp_path / "bids/sub-0009/dwi").is_dir()
    assert (tmp_path / "out/sub-0001/ses-a/dwi").is_dir()
