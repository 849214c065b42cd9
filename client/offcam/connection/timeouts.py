"""How long the client waits for what: every wait of a wrapper, in one place."""

from __future__ import annotations

START_SECONDS = 2.0
"""How long construction waits for a daemon in all: until one is started, answers, and has opened the stream. After a
wait in vain no construction waits again until the daemon says something: many envs are made in a row. Only the first
video of a process waits once more as long for a daemon that is being started: on a crowded machine a short script
would be over by then."""

CERTAIN_SECONDS = 30.0
"""How long construction waits under ``strict=True`` or ``OFFCAM=require``, each time; then it raises."""

RESUME_SECONDS = 10.0
"""How long construction waits for a daemon of another host to say how far a run came that is resumed, once that has
welcomed the question, for which it waits `START_SECONDS`, too: it may have to go through millions of episodes."""

LAUNCH_SECONDS = 300.0
"""How long a daemon may start, off the agent's thread, until a warning says what to do about it. It is not ended."""

HANDSHAKE_SECONDS = 1.5
"""How long construction waits for a daemon of another host to take or refuse the key."""

HANDSHAKE_TRIES = 3
"""Failed connections in that time after which construction gives up."""

PATIENCE_SECONDS = 0.004
"""Longest wait for credit in one step under ``overflow="drop"``; in a step that took longer than this, so long as the
step itself. While the daemon makes progress, a crowded machine slows the loop down a little rather than lose frames."""

MOST_PATIENCE_SECONDS = 0.1
"""Longest wait for credit in a step that itself took longer than this."""

WAIT_BUDGET_SECONDS = 0.03
"""Most time that a process spends, in all its steps together, on waits for credit that did not come: what a daemon that
hangs may cost its loop."""

WAIT_BUDGET_REFILL = 0.001
"""The share of the time that passes which is given back to that budget."""

LEAST_WAIT_SECONDS = 0.001
"""A shorter wait for credit is not begun: one poll of the socket takes that long."""

FETCH_SECONDS = 0.002
"""How long a look at the socket at most brings frames back that a dead daemon had moved to disk; the rest is for the
next one."""

SLOT_SECONDS = 1.0
"""How long such a frame waits for a slot in which it would outlive the next daemon, too; then it goes by the socket."""

LOOK_SECONDS = 0.02
"""How often a frame that has its credit takes in what the daemon said: that costs as much as sending the frame."""

RECORDS_SECONDS = 0.1
"""How long records may be held back, to be sent together; no longer than until they are `HELD_RECORDS`. How often the
step in which an episode ends takes in what the daemon said."""

HELD_RECORDS = 64
"""So many records of single envs are sent at once."""

HELD_FRAMES = 8
"""Most frames in shared memory that are held back until one message names them all: to wake libzmq's thread for each
would cost the agent's more than all the rest. What a killed client held back, the daemon finds in the memory."""

HELD_SECONDS = 0.1
"""Longest time that they are held back."""

BLOCK_SECONDS = 30.0
"""Longest wait for credit in one step under ``overflow="block"``."""

REOPEN_SECONDS = 2.0
"""How long the first step after a fork or a `close` waits for a daemon that listens or is being started."""

SOON_SECONDS = 0.01
"""How often a daemon that has just been started is greeted until there is a connection, and how often a construction or
a flush looks whether it is there."""

RETRY_SECONDS = 0.25
"""How often a step looks for a daemon that is gone."""

ANSWER_SECONDS = 1.0
"""How long a greeting or a flush may go unanswered before it is said again: a daemon may have died of it, unnoticed."""

LEAST_PAUSE_SECONDS = 0.25
"""The pause after the start of an embedded daemon until the next one. It doubles with each start, up to
`MOST_PAUSE_SECONDS`; once a daemon answers, the next one that is needed is started at once."""

MOST_PAUSE_SECONDS = 30.0
"""The longest pause between two starts of an embedded daemon that never answers."""

REFUSED_KEY_SECONDS = 30.0
"""How often a daemon of another host that refused the key is asked again."""

SILENCE_SECONDS = 10.0
"""A flush gives up on a daemon that has said nothing for this long; where a flush just did, after `ANSWER_SECONDS`."""

GONE_SECONDS = 10.0
"""A flush gives up on a daemon that ``OFFCAM_ADDR`` names where, on this host, no process has listened for this long:
time enough for a service manager to start it again."""

COMING_SECONDS = 60.0
"""How long a flush waits for a daemon that is still being started; then `SILENCE_SECONDS` count."""

EXIT_SECONDS = 30.0
"""Longest wait at interpreter exit for recordings that were never closed, all in all."""

LINGER_MS = 2000
"""Longest wait at exit for the last bytes to leave; the end of `EXIT_SECONDS` is kept for it."""
