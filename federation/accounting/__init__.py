"""What noise costs and what it buys, for the subsampled Gaussian mechanism.

Guarantee of every ε here: unit = one patient with all of that patient's images; adjacency = add or remove one
patient; assumption: every patient enters every step independently with probability q (Poisson sampling), and
moves the sum by at most the clipping norm in L2. A *noise multiplier* is the noise's standard deviation over
that norm. Each ε is an upper bound. What is proven of which, and how exact it is: docs/accounting.md.
"""

from federation.accounting.calibration import noise_multiplier_for
from federation.accounting.filter import RdpFilter
from federation.accounting.history import epsilon_of, epsilon_spent
from federation.accounting.spend import Spend

__all__ = ["RdpFilter", "Spend", "epsilon_of", "epsilon_spent", "noise_multiplier_for"]
