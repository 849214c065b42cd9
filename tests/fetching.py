"""A page of a server's, as tests ask for it: on a busy machine it may take its time."""

from functools import partial

import httpx

from waiting import HANG_SECONDS

fetch = partial(httpx.get, timeout=HANG_SECONDS)
