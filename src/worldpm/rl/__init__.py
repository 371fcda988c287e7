"""SCORES -> A TRAINER'S REWARDS, in its own process or by HTTP. No torch, no client library.

    trainer = GRPOTrainer(reward_funcs=trl_reward("http://127.0.0.1:8000"), ...)     TRL
    reward_func = openrlhf_reward("http://127.0.0.1:8000")                           OpenRLHF
    compute_score = verl_compute_score("http://127.0.0.1:8000")                      verl

Instead of an address each takes a `ScoreFn`, such as `worldpm.load("MODEL").score`, or nothing:
then the address is that of the environment's WORLDPM_URL. A reward is a score, or there is an
exception; it is never a number made up.
"""

from worldpm.rl.openrlhf import openrlhf_reward
from worldpm.rl.remote import remote
from worldpm.rl.trl import trl_reward
from worldpm.rl.verl import verl_compute_score

__all__ = ["openrlhf_reward", "remote", "trl_reward", "verl_compute_score"]
