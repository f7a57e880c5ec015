"""Run a command that ends with its parent: `python -I -S tether.py PARENT_PID COMMAND...` (Linux).

The kernel sends SIGTERM to the command when the process that started it dies, however it dies. This is a program of
its own, started fresh, because setting it between fork and exec is unsafe in a parent that has threads. It must import
nothing but the standard library: it costs every process of the stack its start-up time.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the line above; then nobody would ever send the signal.
    if os.getppid() == int(sys.argv[1]):
        try:
            os.execvp(sys.argv[2], sys.argv[2:])
        except OSError as error:
            sys.exit(f"{sys.argv[2]} cannot be run: {error.strerror}")
