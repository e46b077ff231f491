from . import inference as inference
from . import tracking as tracking
