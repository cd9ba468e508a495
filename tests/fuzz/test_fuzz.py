"""No file, however strange, is met with a traceback, a hang, or a result that it does not hold."""

import pytest
from fuzz.engine import fuzz
from fuzz.properties import PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_any_file_is_taken_for_what_it_holds_or_refused_in_words(name, tmp_path):
    fuzz(PROPERTIES[name], tmp_path, "ci")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_thousands_of_files_that_nobody_has_seen_are_taken_or_refused(name, tmp_path):
    fuzz(PROPERTIES[name], tmp_path, "fuzz")
