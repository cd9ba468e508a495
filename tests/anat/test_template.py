"""A template is found by its name or as files, or the message says what to do."""

import os

import nibabel as nib
import numpy as np
import pytest

from shd_bids.anat.template import Template, find_template, template_available
from shd_bids.errors import AnatomyError


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Stand in for TemplateFlow's folder: what `ls` lists is a stub until it is written."""
    from templateflow import api

    def ls(name, *, suffix, resolution, **_):
        brain = "_desc-brain" if suffix == "mask" else ""
        file = tmp_path / f"tpl-{name}_res-{resolution:02d}{brain}_{suffix}.nii.gz"
        file.touch()
        return [file]

    monkeypatch.setattr(api, "ls", ls)
    return tmp_path


def test_a_template_that_is_here_is_found(cache):
    for name in ("T1w", "desc-brain_mask"):
        (cache / f"tpl-MNI152NLin2009cAsym_res-02_{name}.nii.gz").write_text("x")
    found = find_template("MNI152NLin2009cAsym:res-2")
    assert found.t1w_file.name == "tpl-MNI152NLin2009cAsym_res-02_T1w.nii.gz"
    assert found.mask_file.name == "tpl-MNI152NLin2009cAsym_res-02_desc-brain_mask.nii.gz"
    assert template_available("MNI152NLin2009cAsym:res-2")


def test_a_stub_is_missing_and_the_message_says_how_to_get_it(cache):
    with pytest.raises(
        AnatomyError, match=r"(?s)res-01_T1w.nii.gz is missing.*templateflow get"
    ) as e:
        find_template()
    assert "TEMPLATEFLOW_HOME=" in str(e.value)
    assert "--anat-template FILE,MASK" in str(e.value)
    assert not template_available()


def test_no_network_is_said(cache, monkeypatch):
    from templateflow import api

    def get(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(api, "get", get)
    with pytest.raises(AnatomyError, match=r"fetching it failed \(no route to host\)"):
        find_template(download=True)


def test_of_a_network_that_fails_the_innermost_reason_is_said(cache, monkeypatch):
    from templateflow import api

    class TriesError(Exception):
        reason = OSError("no such host")

    def get(*_, **__):
        raise ConnectionError(TriesError("Max retries exceeded with url: /tpl"))

    monkeypatch.setattr(api, "get", get)
    with pytest.raises(AnatomyError, match=r"fetching it failed \(no such host\)"):
        find_template(download=True)


def test_a_folder_that_cannot_be_written_is_not_where_to_fetch_to(cache, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(AnatomyError, match=r"cannot be written.*set to a folder of yours.*bind"):
        find_template()


def test_files_can_be_given(tmp_path):
    for name in ("tpl-Mine_T1w.nii.gz", "brain.nii"):
        nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4)).to_filename(tmp_path / name)
    head, mask = tmp_path / "tpl-Mine_T1w.nii.gz", tmp_path / "brain.nii"
    assert find_template(f"{head},{mask}") == Template("Mine", head, mask)
    assert find_template(str(head)) == Template("Mine", head)
    with pytest.raises(AnatomyError, match=r"there is no file .*none.nii"):
        find_template(f"{head},{tmp_path / 'none.nii'}")


@pytest.mark.parametrize("space", ["MNI:large", "no such/name", "MNI152Lin:res-two"])
def test_a_name_that_cannot_be_one_is_refused(space):
    with pytest.raises(AnatomyError, match=r"--anat-template .* names no template"):
        find_template(space)


def test_a_name_that_templateflow_lacks_is_refused():
    with pytest.raises(AnatomyError, match="NoSuchTemplate"):
        find_template("NoSuchTemplate")
