"""Sequential tests on cumulative counts: pure, of floats and `math` alone; each module is one test, with its theorem.

    counts --> log e-value against "worse than the margin" and against "no worse" --> (analysis) harmful | harmless | undecided

An e-process E for a hypothesis is a sequence of numbers, 0 or more, whose expectation under that hypothesis is at most 1 at every
stopping time. By Ville's inequality it ever reaches 1 / alpha with a chance of at most alpha: one may look as often as one likes
and stop when one likes. Everything here gives log E, so that -inf is 0 and 0.0 says nothing either way.

Invariant: a log e-value is a function of the counts as they stand. There is nothing else to remember, to lose or to count twice.
"""
