"""What machines do to runs: no memory, full disks, killed workers; each told as one sentence."""

import errno
import re

LESS_MEMORY = (
    "a smaller batch_size= (with trainer.accumulate_grad_batches= for the same steps), size= or"
    " arch= needs less"
)
PEER_ENDED = "another process of this training has ended"
# What torch says -> what to say. Its errors are told apart by their words alone.
SAID = {
    r"CUDA out of memory|CUDA (?:driver )?error: out of memory|CU\w+_STATUS_ALLOC_FAILED": (
        f"the GPU is out of memory: {LESS_MEMORY}"
    ),
    r"DefaultCPUAllocator: can't allocate|Cannot allocate memory|std::bad_alloc": (
        f"out of memory: {LESS_MEMORY}"
    ),
    r"DataLoader worker .* Bus error|shared memory|torch_shm": (
        "the shared memory of this machine (/dev/shm) is full: fewer num_workers=, or a smaller"
        " presize= or batch_size=, need less, and docker run --shm-size=1g gives more"
    ),
    r"DataLoader worker .* (?:killed by signal|exited unexpectedly)": (
        "a process that opens pictures was killed, by someone or for want of memory: fewer"
        " num_workers= need less"
    ),
    r"does not have a deterministic implementation|CUBLAS_WORKSPACE_CONFIG": (
        "trainer.deterministic=true: a part of this network cannot be deterministic on this"
        " device; trainer.deterministic=warn makes the others so"
    ),
    r"gloo/transport/.* Connection|NCCL communicator was aborted|ncclRemoteError": PEER_ENDED,
    r"No space left on device|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+": (
        "the disk is full: make room"
    ),
}


def sentence_of(error: BaseException) -> str | None:
    """What to tell of an error that a machine is to blame for; None of any other."""
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
        error = error.__cause__  # such as of logging, whose file cannot be opened
    if isinstance(error, MemoryError):
        return f"out of memory: {LESS_MEMORY}"
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{error.filename}: {error.strerror}; hydra.run.dir= or output= name another folder"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: make room" + (f" for {error.filename}" if error.filename else "")
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"{error.filename}: is a file, or below one; name a folder"
    if isinstance(error, (OSError, RuntimeError)):
        return next((told for words, told in SAID.items() if re.search(words, str(error))), None)
    return None
