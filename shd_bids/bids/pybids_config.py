"""How PyBIDS reads what we write."""

from importlib.resources import files


def pybids_config_file() -> str:
    """Give the file that teaches PyBIDS the entities ``param``, ``track`` and ``bundle``.

    Returns
    -------
    str
        For ``BIDSLayout(out, validate=False, is_derivative=True, config=[pybids_config_file(),
        "bids", "derivatives"])``. It holds the patterns of our names, too, and stands first so
        that ``build_path`` takes them.
    """
    return str(files("shd_bids.data") / "pybids_config.json")
