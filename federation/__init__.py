"""The contract that coordinator and hospitals share: pure functions and typed records."""

import os

# MKL would otherwise round a row of a matrix by where in memory it lies, so that one patient's gradient told,
# in its last bits, how many patients lie before it; and no seeded run could be repeated to the bit. MKL reads
# this once, when it first multiplies.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
