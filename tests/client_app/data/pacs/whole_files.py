"""What a study's files hold, to be compared byte for byte."""

from simulation.hospital.ct_series import all_bytes


def data_set(content):
    """What comes after the file meta information, which says how a file came and not what it is."""
    return content[144 + int.from_bytes(content[140:144], "little") :]


def data_sets(made):
    """Of studies, sorted."""
    return sorted(data_set(content) for content in all_bytes(made))


def fetched(folder):
    """Of all files below a folder, sorted."""
    return sorted(data_set(path.read_bytes()) for path in folder.rglob("*.dcm"))
