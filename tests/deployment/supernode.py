"""A SuperNode as a hospital has it, without certificates: ``supernode.py --OPTION VALUE ...``."""

import sys

from federation.flower_supernode import run_supernode

if __name__ == "__main__":
    run_supernode("--insecure", *sys.argv[1:])
