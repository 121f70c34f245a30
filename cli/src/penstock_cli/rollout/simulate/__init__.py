"""Rollouts on made traffic: what the rules of a rollout would do, before anybody's requests depend on it.

    Traffic, Service, Fault --trace.py--> counts of each arm, look by look --policy--> share of requests, or the end
                              runs.py: many of them, in parallel --> summary.py: false alarms, power, delays

The rules are the operator's own modules; what is made here is only what transformers would have counted. Everything follows
from a seed: the same scenario with the same seed has the same requests, whichever rules look at it.
"""
