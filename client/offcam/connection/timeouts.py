"""Every timeout of the client, in one place."""

from __future__ import annotations

START_SECONDS = 2.0
"""How long the construction of a wrapper waits for a daemon in all: until one is started, answers, and has opened the
stream. After a wait in vain no construction waits again until the daemon says something: many envs are made in a row.
Only the first video of a process waits once more, as long again, for a daemon that is starting or was started just now:
on a crowded machine a short script would be over by then."""

CERTAIN_SECONDS = 30.0
"""How long construction waits under ``strict=True`` or ``OFFCAM=require``, each time; then it raises."""

RESUME_SECONDS = 10.0
"""How long construction waits for a daemon of another host to say how far a resumed run came. It begins when the daemon
has welcomed the question, for which `START_SECONDS` are waited, too: millions of episodes may have to be read."""

LAUNCH_SECONDS = 300.0
"""How long a daemon may take to start, off the agent's thread, until a warning says what to do. It is not killed."""

HANDSHAKE_SECONDS = 1.5
"""How long construction waits for a daemon of another host to accept or refuse the key."""

HUB_SECONDS = 10.0
"""How long a process that pushes a run waits for its hub to accept or refuse the key: nobody waits for it."""

HUB_SILENCE_SECONDS = 60.0
"""How long it waits for an answer; then it begins anew, later."""

HANDSHAKE_TRIES = 3
"""How many failed connections within that time make construction give up."""

PATIENCE_SECONDS = 0.004
"""Longest wait for credit in one step under ``overflow="drop"``, but at most as long as the last step took. While the
daemon makes progress, a crowded machine slows the loop down a little rather than lose frames."""

MOST_PATIENCE_SECONDS = 0.1
"""Longest wait for credit after a step that itself took longer than `PATIENCE_SECONDS`."""

WAIT_BUDGET_SECONDS = 0.03
"""Budget of a process for waits for credit that did not come, over all its steps: what a hanging daemon may cost its
loop."""

WAIT_BUDGET_REFILL = 0.001
"""The share of passing time that is given back to that budget."""

LOADING_SECONDS = 10.0
"""A daemon that has listened for less than this may still load its encoders. Until a first video of a process is final,
its steps wait longer for such a daemon's credit: all of them together `START_SECONDS`."""

LEAST_WAIT_SECONDS = 0.001
"""A wait for credit shorter than this is not begun: one poll of the socket takes as long."""

FETCH_SECONDS = 0.002
"""How long one look at the socket may spend on bringing back frames that a dead daemon had moved to disk; the rest is
left for the next look."""

SLOT_SECONDS = 1.0
"""How long such a frame waits for a slot, in which it would outlive the next daemon, too; then it takes the socket."""

LOOK_SECONDS = 0.02
"""How often sending a frame that has its credit also takes in what the daemon said: that costs as much as the frame."""

RECORDS_SECONDS = 0.1
"""Longest time that records are held back to be sent together; they are sent earlier once there are `HELD_RECORDS`.
Also how often a step in which an episode ends takes in what the daemon said."""

HELD_RECORDS = 64
"""How many records of single envs are sent at once, without waiting for more."""

HELD_FRAMES = 8
"""Most frames in shared memory that are held back until one message names them all: to wake libzmq's thread for each
would cost the agent's thread more than all else. What a killed client held back, the daemon finds in the memory."""

HELD_SECONDS = 0.1
"""Longest time that frames are held back."""

BLOCK_SECONDS = 30.0
"""Longest wait in one step under ``overflow="block"``: for credit, or for a daemon that has yet to answer, or to open
shared memory. After a wait in vain for one of these two no step waits for it again until the daemon says something."""

REOPEN_SECONDS = 2.0
"""How long the first step after a fork or a `close` waits for a daemon that listens or is being started."""

SOON_SECONDS = 0.01
"""Pause between greetings of a daemon that was started just now, until there is a connection; also between the looks of
a construction or a flush whether it is there."""

RETRY_SECONDS = 0.25
"""Pause between a step's looks for a daemon while there is none."""

ANSWER_SECONDS = 1.0
"""How long a greeting or a flush may go unanswered before it is sent again: a daemon may have died of it, unnoticed."""

LEAST_PAUSE_SECONDS = 0.25
"""The first pause between two starts of an embedded daemon. It doubles with each start, up to `MOST_PAUSE_SECONDS`;
once a daemon has answered, the next start is at once."""

MOST_PAUSE_SECONDS = 30.0
"""The longest pause between two starts of an embedded daemon that never answers."""

REFUSED_KEY_SECONDS = 30.0
"""Pause before a daemon of another host that refused the key is asked again."""

SILENCE_SECONDS = 10.0
"""A flush gives up on a daemon that was silent for this long; right after another flush did so, `ANSWER_SECONDS` do."""

GONE_SECONDS = 10.0
"""A flush gives up on a daemon that ``OFFCAM_ADDR`` names where, on this host, no process has listened for this long:
time enough for a service manager to start it again."""

COMING_SECONDS = 60.0
"""How long a flush waits for a daemon that is still being started; from then on it counts as silent."""

EXIT_SECONDS = 30.0
"""Longest wait at interpreter exit for all recordings together that were never closed."""

LINGER_MS = 2000
"""Longest wait at exit for the last bytes to be sent, in milliseconds; it is a part of `EXIT_SECONDS`."""
