"""De-identification to DICOM PS3.15 Annex E: Basic Profile, modified dates, patient characteristics.

options.py         what a site may decide
admission.py       which files are not taken at all
table.py           Table E.1-1, from table.csv
rules.py           one attribute: what is done, and why
values.py          one value, cleaned
cleaning.py        a data set, built anew of what may stay
pixels.py          pixels and nothing else, refused where they look like text
codestreams.py     compressed frames without comments
text_detector.py   what looks like text
identifiers.py     what could tell who a file is of
verifier.py        whether any of it is left
pixel_search.py    the same in millions of bytes
profile.py         all of it, in its order
files.py           the same with files
explanation.py     what is done, as a table
quiet.py           so that no message repeats a value
"""
