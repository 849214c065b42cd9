"""How long the client waits for what: every wait of a wrapper, in one place."""

from __future__ import annotations

START_SECONDS = 2.0
"""How long construction waits for a daemon in all: until it is started, answers, and has opened the stream. It is not
waited for again until something was heard of it: many envs are made in a row. Only the first video of a process waits
once more as long for one that is being started: on a crowded machine a short script would be over by then."""

CERTAIN_SECONDS = 30.0
"""The same under ``strict=True`` or ``OFFCAM=require``, each time; then construction raises."""

LAUNCH_SECONDS = 300.0
"""How long a daemon may start, off the agent's thread, until it is said what to do about it. It is not ended."""

CONTACT_SECONDS = 1.5
"""How long construction waits for a daemon of another host to take or refuse the key."""

CONTACT_TRIES = 3
"""Failed connections in that time after which it gives up."""

PATIENCE_SECONDS = 0.004
"""Longest wait for credit in one step under ``overflow="drop"``, or as long as the step itself took if that is
longer: while the daemon makes progress, a crowded machine slows the loop down a little rather than lose frames."""

MOST_PATIENCE_SECONDS = 0.1
"""Longest wait for credit in a step that itself took longer than this."""

VAIN_SECONDS = 0.03
"""What waits for credit that does not come may cost a process, all together..."""

VAIN_SHARE = 0.001
"""...and the share of its time by which that is refilled."""

LEAST_WAIT_SECONDS = 0.001
"""Shorter waits are not begun: a poll takes that long."""

LOOK_SECONDS = 0.02
"""How often a frame that has its credit looks for what the daemon said: each look costs as much as all the rest."""

HELD_FRAMES = 8
HELD_SECONDS = 0.1
"""So many frames in shared memory are named in one message, or those of so long: to wake libzmq's thread for each
would cost the agent's more than all the rest. What a killed client held back, the daemon finds in the memory."""

BLOCK_SECONDS = 30.0
"""Longest wait for credit in one step under ``overflow="block"``."""

REOPEN_SECONDS = 2.0
"""How long the first step after a fork or a `close` waits for a daemon that listens."""

RETRY_SECONDS = 0.25
"""How often a step looks for a daemon that is gone."""

ANSWER_SECONDS = 1.0
"""How long a greeting or a flush may go unanswered before it is said again: a daemon may have died of it, unnoticed."""

RELAUNCH_SECONDS = 30.0
"""How often an embedded daemon that died is started again, or one of another host that refused the key is asked."""

SILENCE_SECONDS = 10.0
"""A flush gives up when the daemon has said nothing for this long (`ANSWER_SECONDS` if one just gave up)..."""

GONE_SECONDS = 3.0
"""...or when, on this host, no process has listened for this long, and none could be started: time enough for a
service manager to start it again."""

COMING_SECONDS = 60.0
"""How long a flush waits for a daemon that is still being started; then `SILENCE_SECONDS` count."""

EXIT_SECONDS = 30.0
"""Longest wait at interpreter exit for recordings that were never closed, all in all."""

LINGER_MS = 2000
"""Longest wait at exit for the last bytes to leave; the end of `EXIT_SECONDS` is kept for it."""
