"""A step that takes more memory than it declares is known."""

import pytest
from shd_workflows.usage import StepUse


@pytest.mark.parametrize(
    ("use", "is_over"),
    [
        (StepUse(1.0, 1.3, 1.0), True),
        (StepUse(1.0, 1.1, 1.0), False),
        (StepUse(1.0, None, 1.0), False),
        (StepUse(1.0, 9.0, None), False),
    ],
)
def test_a_fifth_more_than_declared_is_tolerated(use, is_over):
    assert use.is_over == is_over
