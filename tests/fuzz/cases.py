"""The table of bad input: what is wrong with a participant, and what its user must read.

``EARLY`` stop before anything runs, ``LATE`` in the first step that reads the voxels, and ``FINE``
are odd but sound: they give what the good participant gives.
"""

import gzip
import json
from collections.abc import Callable

import nibabel as nib
import numpy as np
from fuzz.damage import AFFINE, N_DIRECTION, SHAPE, Participant, b0_image, series

Change = Callable[[Participant], object]
EARLY: dict[str, tuple[Change, str]] = {}
LATE: dict[str, tuple[Change, str]] = {}
FINE: dict[str, Change] = {}

N_VOLUME = 1 + N_DIRECTION


def _early(words: str) -> Callable[[Change], Change]:
    def add(change: Change) -> Change:
        EARLY[change.__name__.replace("_", "")] = change, words
        return change

    return add


def _late(words: str) -> Callable[[Change], Change]:
    def add(change: Change) -> Change:
        LATE[change.__name__.replace("_", "")] = change, words
        return change

    return add


def _fine(change: Change) -> Change:
    FINE[change.__name__.replace("_", "")] = change
    return change


# images whose header or size gives them away


@_early(r"No diffusion images of participant")
def no_dwi(one):
    for file in (one.folder / "dwi").iterdir():
        file.unlink()


@_early(r"_dwi\.nii\.gz has zero bytes")
def zero_bytes(one):
    one.dwi.write_bytes(b"")


@_early(r"_dwi\.nii\.gz cannot be read as NIfTI")
def no_gzip(one):
    one.dwi.write_bytes(one.raw())


@_early(r"_dwi\.nii\.gz cannot be read as NIfTI")
def text_for_image(one):
    one.dwi.write_text("oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32")


@_early(r"_dwi\.nii\.gz cannot be read as NIfTI")
def header_cut(one):
    one.put_raw(one.raw()[:200])


@_early(r"_dwi\.nii\.gz is truncated: .* expected")
def voxels_cut(one):
    one.put_raw(one.raw()[:-1000])


@_early(r"_dwi\.nii\.gz is truncated or damaged")
def gzip_cut(one):
    one.dwi.write_bytes(one.dwi.read_bytes()[:-5000])


@_early(r"_dwi\.nii is truncated: .* expected")
def plain_cut(one):
    one.path(".nii").write_bytes(one.raw()[:-1])
    one.dwi.unlink()


@_early(r"_dwi\.nii\.gz cannot be read as NIfTI")
def wrong_magic(one):
    one.patch(magic=b"xyz")


@_early(r"_dwi\.nii\.gz is a link to .* which is not there.*datalad get")
def link_to_nowhere(one):
    one.dwi.unlink()
    one.dwi.symlink_to("../../.git/annex/objects/MD5E-s100--0.nii.gz")


@_early(r"_dwi\.nii\.gz is truncated: .* expected")
def enormous_dims(one):
    one.patch(dim=[4, 30000, 30000, 30000, 30000, 1, 1, 1])


@_early(r"_dwi\.nii\.gz (cannot be read|holds no voxels)")
def negative_dims(one):
    one.patch(dim=[4, -10, 10, 8, N_VOLUME, 1, 1, 1])


@_early(r"_dwi\.nii\.gz holds no voxels")
def empty_dims(one):
    one.patch(dim=[4, 10, 0, 8, N_VOLUME, 1, 1, 1])


@_early(r"_dwi\.nii\.gz cannot be read as NIfTI")
def nine_dims(one):
    one.patch(dim=[9, 10, 10, 8, N_VOLUME, 1, 1, 1])


@_early(r"_dwi\.nii\.gz is 3-D .* expected a 4-D series")
def three_dims(one):
    nib.Nifti1Image(b0_image(), AFFINE).to_filename(one.dwi)


@_early(r"_dwi\.nii\.gz is 5-D .* expected a 4-D series")
def five_dims(one):
    nib.Nifti1Image(series()[..., None, :], AFFINE).to_filename(one.dwi)


@_early(r"_dwi\.nii\.gz .*expected")
def voxels_beyond_the_end(one):
    one.patch(vox_offset=4e6)


@_early(r"_dwi\.nii\.gz")
def voxels_before_the_start(one):
    one.patch(vox_offset=-352)


@_early(r"_dwi\.nii\.gz")
def voxels_nowhere(one):
    one.patch(vox_offset=np.nan)


@_early(r"_dwi\.nii\.gz (cannot be read|holds data of type)")
def unknown_dtype(one):
    one.patch(datatype=77)


@_early(r"_dwi\.nii\.gz holds data of type complex64; expected magnitudes")
def complex_voxels(one):
    nib.Nifti1Image(series().astype(np.complex64), AFFINE).to_filename(one.dwi)


@_early(r"_dwi\.nii\.gz holds data of type .*; expected magnitudes")
def colours(one):
    rgb = np.zeros((*SHAPE, N_VOLUME), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"] = 7
    nib.Nifti1Image(rgb, AFFINE).to_filename(one.dwi)


@_early(r"slope and intercept of .*_dwi\.nii\.gz")
def infinite_slope(one):
    one.patch(scl_slope=np.inf)


@_early(r"affine of .*_dwi\.nii\.gz is zero or singular")
def zero_affine(one):
    one.patch(srow_x=0, srow_y=0, srow_z=0, sform_code=1)


@_early(r"affine of .*_dwi\.nii\.gz is zero or singular")
def singular_affine(one):
    one.patch(srow_z=[0, 2, 0, 0], sform_code=1)


@_early(r"affine of .*_dwi\.nii\.gz is zero or singular")
def nan_affine(one):
    one.patch(srow_x=np.nan, sform_code=1)


@_early(r"sform and qform of .*_dwi\.nii\.gz disagree")
def orientations_disagree(one):
    image = nib.load(one.dwi)
    image.set_qform(AFFINE * [[-1], [1], [1], [1]], code=1)
    image.to_filename(one.dwi)


@_early(r"sform code of .*_dwi\.nii\.gz is 6; expected 0 to 5")
def unknown_code_of_orientation(one):
    one.patch(sform_code=6)


@_early(r"_dwi\.nii\.gz has voxels of 2000 .* mm")
def micrometres(one):
    affine = AFFINE * [[1000], [1000], [1000], [1]]
    nib.Nifti1Image(series(), affine).to_filename(one.dwi)


@_early(r"_dwi\.nii and .*_dwi\.nii\.gz|_dwi\.nii\.gz and .*_dwi\.nii")
def twice_the_same(one):
    one.path(".nii").write_bytes(one.raw())


@_early(r"have different matrices")
def runs_of_two_sizes(one):
    one.add_run((10, 10, 9))


# gradient files


@_early(r"_dwi\.nii\.gz has no \.bval file")
def bval_missing(one):
    one.path(".bval").unlink()


@_early(r"_dwi\.nii\.gz has no \.bvec file")
def bvec_missing(one):
    one.path(".bvec").unlink()


@_early(r"_dwi\.bval is empty")
def bval_empty(one):
    one.path(".bval").write_bytes(b"")


@_early(r"_dwi\.bval holds 12 b-values, but .*_dwi\.bvec has 13 vectors")
def bval_short(one):
    one.put_bvals(one.bvals[:-1])


@_early(r"hold 12 b-values, but .*_dwi\.nii\.gz has 13 volumes")
def both_short(one):
    one.put_bvecs(one.bvecs[:, :-1])
    one.put_bvals(one.bvals[:-1])


@_early(r"_dwi\.bvec has rows of 12 and of 13 numbers")
def bvec_ragged(one):
    one.text(".bvec", lambda text: text.replace("0.00000000 ", "", 1))


@_early(r"_dwi\.bvec holds 2 rows of 13 numbers; expected 3 rows")
def bvec_two_rows(one):
    one.put_bvecs(one.bvecs[:2])


@_early(r"_dwi\.bval and .*\.bvec.* (swapped|exchanged)|_dwi\.bvec holds 1 row")
def files_swapped(one):
    bval, bvec = (one.path(kind).read_bytes() for kind in (".bval", ".bvec"))
    one.path(".bval").write_bytes(bvec)
    one.path(".bvec").write_bytes(bval)


@_early(r"_dwi\.bvec holds 1 entries that are NaN")
def bvec_nan(one):
    bvecs = one.bvecs
    bvecs[1, 4] = np.nan
    one.put_bvecs(bvecs)


@_early(r"_dwi\.bval holds 1 entries that are NaN or infinite")
def bval_overflow(one):
    one.text(".bval", lambda text: text.replace("1000", "1e400", 1))


@_early(r"_dwi\.bval holds something else than b-values: .*'b=1000'")
def bval_words(one):
    one.text(".bval", lambda text: text.replace("1000", "b=1000", 1))


@_early(r"_dwi\.bval holds something else than b-values")
def bval_header(one):
    one.text(".bval", lambda text: "bvals\n" + "\n".join(text.split()))


@_early(r"_dwi\.bval is not .*text.*UTF-8")
def bval_utf16(one):
    file = one.path(".bval")
    file.write_text(file.read_text(), encoding="utf-16")


@_early(r"_dwi\.bval holds something else than b-values")
def bval_underscores(one):
    one.text(".bval", lambda text: text.replace("1000", "1_000"))


@_early(r"_dwi\.bval holds something else than b-values: .{0,60}\. Expected numbers")
def bval_endless_word(one):
    one.text(".bval", lambda text: text + "x" * 1_000_000)


@_early(r"has no \.bval file")
def bval_a_folder(one):
    one.path(".bval").unlink()
    one.path(".bval").mkdir()


@_early(r"negative b-value -5")
def bval_negative(one):
    one.put_bvals([0, -5, *one.bvals[2:]])


@_early(r"largest b-value is 1 .*s/mm².*1000")
def bval_in_ms_per_um2(one):
    one.put_bvals(one.bvals / 1000)


@_early(r"b-value 1e\+09.*s/mm²")
def bval_in_s_per_m2(one):
    one.put_bvals(one.bvals * 1e6)


@_early(r"no b=0 volume: its smallest b-value is 1000")
def no_b0(one):
    one.put_bvals([1000] * N_VOLUME)


@_early(r"at least 6 are needed")
def five_directions(one):
    image = nib.load(one.dwi)
    nib.Nifti1Image(np.asarray(image.dataobj)[..., :6], AFFINE).to_filename(one.dwi)
    one.put_bvecs(one.bvecs[:, :6])
    one.put_bvals(one.bvals[:6])


@_early(r"along 1 distinct directions")
def one_direction(one):
    one.put_bvecs(np.tile([[0.6], [0.8], [0]], N_VOLUME))


@_early(r"all lie on one cone or plane")
def directions_in_a_plane(one):
    angle = np.arange(N_VOLUME) * np.pi / N_VOLUME
    one.put_bvecs(np.stack([np.cos(angle), np.sin(angle), 0 * angle]))


@_early(r"volume 3 .* has b=1000 but the vector 0 0 0")
def vector_zero(one):
    bvecs = one.bvecs
    bvecs[:, 3] = 0
    one.put_bvecs(bvecs)


@_early(r"vector of length 7")
def vector_long(one):
    one.put_bvecs(one.bvecs * 7)


@_early(r"These data have no shells")
def spectrum(one):
    one.put_bvals([0, *np.linspace(200, 6000, N_DIRECTION)])


# sidecars and what stands beside the series


@_early(r"_dwi\.json is not JSON")
def sidecar_no_json(one):
    one.path(".json").write_text('{"RepetitionTime": 3.0,')


@_early(r"_dwi\.json holds a list; expected a JSON object")
def sidecar_no_object(one):
    one.path(".json").write_text("[1, 2]")


@_early(r"_dwi\.json is not JSON")
def sidecar_binary(one):
    one.path(".json").write_bytes(bytes(range(256)))


@_early(r"_dwi\.json is not JSON.*nested")
def sidecar_deep(one):
    one.path(".json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


@_early(r"_dir-PA_epi\.nii\.gz cannot be read as NIfTI.*--sdc none|_dir-PA_epi\.nii\.gz cannot")
def fieldmap_broken(one):
    one.add_reverse().write_bytes(b"not an image")


@_early(r"_dir-PA_epi\.nii\.gz is truncated")
def fieldmap_cut(one):
    file = one.add_reverse()
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-400]))


@_early(r"_dir-PA_epi\.json is not JSON")
def fieldmap_sidecar_broken(one):
    one.add_reverse()
    one.path(".json", kind="epi", entities="_dir-PA").write_text("{")


@_early(r"_T1w\.nii\.gz cannot be read as NIfTI.*--skip-anat")
def t1w_broken(one):
    one.add_t1w().write_bytes(b"not an image")


@_early(r"_T1w\.nii\.gz .*expected one T1w volume.*--skip-anat|_T1w\.nii\.gz .*expected one T1w")
def t1w_of_five_volumes(one):
    nib.Nifti1Image(series()[..., :5], AFFINE).to_filename(one.add_t1w())


# voxels


@_late(r"_dwi\.nii\.gz is truncated or damaged")
def gzip_damaged(one):
    content = bytearray(one.dwi.read_bytes())
    content[len(content) // 2] ^= 0xFF
    one.dwi.write_bytes(bytes(content))


@_late(r"_dwi\.nii\.gz is truncated or damaged.*incorrect data check")
def checksum_wrong(one):
    content = bytearray(one.dwi.read_bytes())
    content[-8] ^= 0xFF
    one.dwi.write_bytes(bytes(content))


@_late(r"_dwi\.nii\.gz holds 3 values that are NaN or infinite")
def nan_voxels(one):
    def alter(data):
        data[5, 5, 4, :2] = np.nan
        data[5, 5, 4, 2] = np.inf
        return data

    one.change(alter)


@_late(r"of the values of .*_dwi\.nii\.gz are negative.*phase image")
def phase_image(one):
    one.change(lambda data: data - 600)


@_late(r"Every voxel of .*_dwi\.nii\.gz is 7")
def constant(one):
    one.change(lambda data: 0 * data + 7)


@_late(r"Every voxel of .*_dwi\.nii\.gz is 0")
def all_zero(one):
    one.change(lambda data: 0 * data)


@_late(r"Volume 3 .*_dwi\.nii\.gz .*is 0 in every voxel")
def one_volume_zero(one):
    one.change(lambda data: data * (np.arange(N_VOLUME) != 3))


@_late(r"Volume 0 .*_dwi\.nii\.gz is 0 in every voxel")
def b0_zero(one):
    one.change(lambda data: data * (np.arange(N_VOLUME) != 0))


# odd, but sound


@_fine
def big_endian(one):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    nib.Nifti1Image(series().astype(">i2"), AFFINE, header).to_filename(one.dwi)


@_fine
def scaled(one):
    nib.Nifti1Image((2 * series() - 6).astype(np.int16), AFFINE).to_filename(one.dwi)
    one.patch(scl_slope=0.5, scl_inter=3.0)


@_fine
def doubles(one):
    nib.Nifti1Image(series().astype(np.float64), AFFINE).to_filename(one.dwi)


@_fine
def unsigned(one):
    nib.Nifti1Image(series().astype(np.uint16), AFFINE).to_filename(one.dwi)


@_fine
def nifti2(one):
    nib.Nifti2Image(series(), AFFINE).to_filename(one.dwi)


@_fine
def not_compressed(one):
    one.path(".nii").write_bytes(one.raw())
    one.dwi.unlink()


@_fine
def slope_zero(one):
    one.patch(scl_slope=0.0)


@_fine
def slope_nan(one):
    one.patch(scl_slope=np.nan, scl_inter=np.nan)


@_fine
def trailing_zeros(one):
    one.dwi.write_bytes(one.dwi.read_bytes() + b"\0" * 512)


@_fine
def in_two_gzip_members(one):
    content = one.raw()
    one.dwi.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))


@_fine
def gap_before_voxels(one):
    content = one.raw()
    one.put_raw(content[:352] + b"\0" * 4096 + content[352:])
    one.patch(vox_offset=352 + 4096)


@_fine
def qform_code_zero(one):
    one.patch(qform_code=0, quatern_b=0.3, qoffset_x=50)


@_fine
def negative_voxel_sizes(one):
    one.patch(pixdim=[-1, -2, -2, -2, 3, 0, 0, 0])


@_fine
def bval_decimals(one):
    one.put_bvals(np.where(one.bvals > 0, 999.98, 0), "%.2f")


@_fine
def bval_commas(one):
    one.text(".bval", lambda text: ",".join(text.split()) + "\n")


@_fine
def bval_column(one):
    one.text(".bval", lambda text: "\n".join(text.split()))


@_fine
def bval_dos(one):
    one.path(".bval").write_bytes(
        b"\xef\xbb\xbf" + " ".join(map(str, one.bvals)).encode() + b"\r\n"
    )


@_fine
def bvec_transposed(one):
    one.put_bvecs(one.bvecs.T)


@_fine
def bvec_nan_at_b0(one):
    bvecs = one.bvecs
    bvecs[:, 0] = np.nan
    one.put_bvecs(bvecs)


@_fine
def sidecar_missing(one):
    one.path(".json").unlink()


@_fine
def sidecar_with_bom(one):
    file = one.path(".json")
    file.write_text(file.read_text(), encoding="utf-8-sig")


@_fine
def sidecar_strange(one):
    one.sidecar(
        RepetitionTime=float("nan"),
        EchoTime=10**400,
        SliceTiming="no",
        subject="other",
        Nested={"a": [{}]},
    )


@_fine
def sidecar_twice_a_key(one):
    one.path(".json").write_text('{"PhaseEncodingDirection": "i", "PhaseEncodingDirection": "j"}')


@_fine
def direction_wrong(one):
    one.sidecar(PhaseEncodingDirection="AP")


@_fine
def readout_negative(one):
    one.sidecar(TotalReadoutTime=-0.05)


@_fine
def readout_text(one):
    one.sidecar(TotalReadoutTime="50 ms")


@_fine
def readout_huge(one):
    one.sidecar(TotalReadoutTime=10**400, EffectiveEchoSpacing=10**400, ReconMatrixPE=1e300)


@_fine
def partial_fourier_text(one):
    one.sidecar(PartialFourier="7/8", SliceEncodingDirection=3, PartialFourierDirection=[1])


@_fine
def intended_for_nowhere(one):
    one.add_reverse(IntendedFor="bids::sub-99/dwi/sub-99_dwi.nii.gz")


@_fine
def intended_for_strange(one):
    one.add_reverse(IntendedFor=[3, None, "\0", {"a": 1}, "/" * 5000])


def told(words: dict[str, object]) -> str:
    """Give a table of JSON, for a message of a test."""
    return json.dumps(words, indent=1)
