"""Start a program that the kernel ends together with its parent (Linux); elsewhere just start it.

Run as `python -I -S launch.py <parent pid> <niceness> <program> [arguments]`: sets PR_SET_PDEATHSIG and the niceness,
then becomes the program, so its pid is the one the parent knows. Done here and not in a pre-exec hook, which is not
safe in a process with threads.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above; then nobody would ever end this process.
        if os.getppid() != parent:
            sys.exit(1)
    yield_to_others(int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])


def yield_to_others(niceness: int) -> None:
    """Where the kernel shares cores between sessions (Linux's autogroup), the session yields too."""
    if not niceness:
        return
    os.nice(niceness)
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(niceness))
    except OSError:
        pass  # this kernel has no such groups: the process's own niceness counts


if __name__ == "__main__":
    main()
