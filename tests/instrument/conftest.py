"""Let the tests of this package import their helpers, which no installed package holds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
