"""`python -m mxc`: the same as the `mxc` command."""

import sys

from mxc.cli import main

if __name__ == "__main__":
    sys.exit(main())
