"""Which of several processes of one training this one is, whoever has started them.

torchrun does on any number of machines, ``launch.py`` with its engine on one, and Slurm's srun.
What they tell is in environment variables.
"""

import os

COMMAND = "PADDY_COMMAND"  # environment variable of ours: what was typed
TORCHRUN, SRUN = "torchrun", "srun"
# How many processes there are, which of them this is, how many a machine has. A batch script of
# Slurm has numbers of tasks as well, but not of a step, which is what srun starts.
VARIABLES = {
    TORCHRUN: ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"),
    SRUN: ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_NTASKS_PER_NODE"),
}


def starter() -> str | None:
    """Who has started several processes, of which this is one; None where it is alone."""
    # One of torchrun's may itself be a task of srun's.
    who = TORCHRUN if "TORCHELASTIC_RUN_ID" in os.environ else SRUN
    return who if int(os.environ.get(VARIABLES[who][0], 1)) > 1 else None


def rank() -> int:
    """Which of all processes this is; only the first, 0, writes to a run's folder."""
    who = starter()
    return int(os.environ[VARIABLES[who][1]]) if who else 0


def started() -> tuple[int, int]:
    """How many processes there are on each machine (0 where srun was not told), and in all."""
    who = starter()
    if who is None:
        return 1, 1
    in_all, _, on_each = VARIABLES[who]
    return int(os.environ.get(on_each, 0)), int(os.environ[in_all])
