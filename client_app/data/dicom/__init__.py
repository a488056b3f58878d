"""DICOM files as volumes of numbers: what is in a file is read, checked, or refused by name."""
