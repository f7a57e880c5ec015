"""Start a program that the kernel ends together with its parent (Linux); elsewhere just start it.

Run as `python -I -S launch.py <parent pid> <program> [arguments]`: sets PR_SET_PDEATHSIG, then becomes the program, so
its pid is the one the parent knows. Done here and not in a pre-exec hook, which is not safe in a process with threads.
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
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
