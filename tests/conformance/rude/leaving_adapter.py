"""An adapter whose import ends the process, as a script does that is no module."""

import os

os._exit(0)
