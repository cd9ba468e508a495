"""All ways in for files that anybody may have written."""

import logging

from fuzz.common import TEXT_OF_JSON, as_json
from fuzz.engine import Property
from fuzz.gradient_files import (
    ONE_SHORT_VECTOR,
    TABLE,
    gradients,
    prepare_gradients,
    prepare_mrtrix,
)
from fuzz.image_files import images, prepare_images
from fuzz.object_files import (
    filters,
    prepare_descriptions,
    prepare_filters,
    prepare_qsiprep,
    prepare_sidecars,
)
from fuzz.own_files import HOSTILE, prepare_own, prepare_pages
from fuzz.setting_files import (
    configs,
    good_weights,
    prepare_configs,
    prepare_regions,
    prepare_responses,
    prepare_weights,
    regions,
    responses,
    weights,
)
from fuzz.strategies import (
    fields,
    mutated_tables,
    texts,
)
from hypothesis import strategies as st

PROPERTIES = {
    one.name: one
    for one in (
        Property("images", images, prepare_images, r"sub-01_dwi\.nii", n_ci=30, n_fuzz=4000),
        Property(
            "gradients",
            lambda: gradients,
            prepare_gradients,
            r"sub-01_dwi\.",
            examples=(ONE_SHORT_VECTOR,),
            n_ci=30,
            n_fuzz=4000,
        ),
        Property(
            "mrtrix tables", lambda: mutated_tables(TABLE), prepare_mrtrix, r"dwi\.b", n_ci=30
        ),
        Property(
            "sidecars",
            lambda: st.tuples(TEXT_OF_JSON, TEXT_OF_JSON),
            prepare_sidecars,
            r"sub-01_(dwi|dir-PA_epi)\.",
            n_ci=20,
            n_fuzz=3000,
        ),
        Property(
            "dataset descriptions",
            lambda: st.one_of(
                TEXT_OF_JSON,
                fields("Name", "GeneratedBy", "PipelineDescription", "DatasetType", "License").map(
                    as_json
                ),
            ),
            prepare_descriptions,
            r"dataset_description\.json",
            examples=(b'{"PipelineDescription": null}', b'{"Name": "\\ud800"}'),
            n_ci=30,
        ),
        Property(
            "filter files",
            lambda: filters,
            prepare_filters,
            r"filter|participant 01",
            examples=(
                b'{"dwi": {"session": [null, null]}}',
                b'{"dwi": {"%s": "x"}}' % (b"a" * 4000),
                b'{"dwi": {"%s": {}}}' % (b"a" * 4000),
            ),
            n_ci=40,
        ),
        Property(
            "qsiprep trees",
            lambda: st.tuples(TEXT_OF_JSON, st.one_of(st.none(), mutated_tables(TABLE))),
            prepare_qsiprep,
            r"sub-01_space-ACPC_desc-preproc_dwi",
            n_ci=15,
            n_fuzz=600,
        ),
        Property(
            "our own sidecars",
            lambda: st.tuples(st.integers(0, 99), HOSTILE),
            prepare_own,
            r"sub-01_",
            examples=tuple((number, b'{"ResponseFunction": null}') for number in range(12)),
            n_ci=10,
            n_fuzz=500,
        ),
        Property(
            "study pages",
            lambda: st.tuples(st.integers(0, 99), HOSTILE, texts),
            prepare_pages,
            r"sub-",
            n_ci=10,
            n_fuzz=400,
        ),
        Property("config files", configs, prepare_configs, r"--|setting|shd-bids\.toml", n_ci=40),
        Property(
            "responses",
            lambda: responses,
            prepare_responses,
            r"response\.txt",
            n_ci=40,
            examples=(b"# Shells: 0,,1\n2000.1 900.5\n0 -300.2\n",),
        ),
        Property(
            "weights",
            weights,
            prepare_weights,
            r"weights\.safetensors",
            n_ci=25,
            examples=(good_weights(), good_weights().replace(b"hemisphere", b"nonsense..")),
        ),
        Property(
            "atlas tables",
            lambda: regions,
            prepare_regions,
            r"atlas\.tsv",
            n_ci=40,
            examples=(b"index\tname\n" + b"1" * 5000 + b"\ta\n", b"index\tname\n1\ta\n2\tb\n"),
        ),
    )
}
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
