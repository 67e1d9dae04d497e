"""`python -m dsmip`."""

import sys

from dsmip.cli.main import main

sys.exit(main())
