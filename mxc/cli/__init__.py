"""The command line: arguments to the driver, results to stdout, errors to stderr.

Exit status: 0 done; 1 a verification failed; 2 the user's input is at fault (one line on stderr);
70 mxc is at fault (a traceback and a reproducer folder); 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from mxc.errors import MxcError

EX_SOFTWARE = 70


def main(argv: Sequence[str] | None = None) -> int:
    """Runs mxc with the arguments `argv` and gives its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except MxcError as error:
        sys.stderr.write(f"mxc: error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("mxc: interrupted; nothing was written\n")
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `mxc ops | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from mxc.cli.crash import report

        sys.stderr.write(report(error, arguments))
        return EX_SOFTWARE


def _dispatch(arguments: list[str]) -> int:
    from mxc.cli.arguments import parse

    command = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    status: int = command.run(command)
    sys.stdout.flush()
    return status


def _terminate(_: int, __: FrameType | None) -> None:
    """Ends like Ctrl-C, so that unfinished output is removed."""
    raise KeyboardInterrupt
