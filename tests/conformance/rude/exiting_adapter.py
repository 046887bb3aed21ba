"""An adapter whose import ends the process in the way that runs what is registered for the end."""

import sys

sys.exit(0)
