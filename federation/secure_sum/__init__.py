"""The coordinator sees sums: masks that cancel, and shares that open a sum and nothing less.

Bonawitz et al. 2017 (doi 10.1145/3133956.3133982: a mask of one's own and one with each peer, Shamir shares
of both) with the seeds by pair and round of Flamingo (arXiv 2308.09883), over a complete graph, and with one
signed survivor set a round. Pure functions and values: nothing here reads a disk or a network.

    plan, roster            what was agreed before the first round
    ring, masks, shamir     integers modulo 2^32, the masks on them, secrets in shares
    transcript, signing, agreement    what is hashed, signed and agreed in pairs
    messages, states        what travels, and what a site keeps
    site, coordinator, round_sum      who does what, when

What it guarantees: of the vectors that honest sites send in a round, the coordinator and up to ``colluding``
sites together learn one sum, over at least ``min_survivors`` sites, and nothing else. Assumed: the roster is
the true one; at most ``colluding`` of its sites break the protocol; no site falls back to an old state.
What it does not stop: differences between rounds, and a site that sends nonsense. Why that holds:
``docs/decisions/0009-secure-sums.md``.
"""
