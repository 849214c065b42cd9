"""The statements by which `offcamd.store.keeping` reads and writes an index."""

from __future__ import annotations

ENTER_RULE = """
INSERT INTO rules (session, prefix, rule, bytes)
SELECT session, prefix, :rule, :bytes FROM streams WHERE id = :stream_id
ON CONFLICT (session, prefix, rule) DO UPDATE SET bytes = excluded.bytes
"""
RULE_OF = """
SELECT rules.id FROM rules JOIN streams ON (rules.session, rules.prefix) = (streams.session, streams.prefix)
WHERE streams.id = :stream_id AND rule = :rule
"""
RULE = "SELECT rule, state FROM rules WHERE id = :rule_id"
BOUND = "SELECT bytes FROM rules WHERE id = :rule_id"
COUNT_LET_GO = "UPDATE rules SET let_go = let_go + :clips WHERE id = :rule_id"
NOTE = "UPDATE rules SET state = :state WHERE id = :rule_id"
RULES = "SELECT id, session, prefix, rule, bytes, state, let_go FROM rules"
ENTER_RULES = """
INSERT OR IGNORE INTO rules (id, session, prefix, rule, bytes, state, let_go)
VALUES (:id, :session, :prefix, :rule, :bytes, :state, :let_go)
"""
NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"

STREAM_ID = "SELECT stream FROM streams WHERE id = :stream_id"
OF_CLIP = "SELECT name, rule_id, state FROM clips WHERE stream_id = :stream_id AND clip = :clip"
HOLD = """
UPDATE clips SET waits = :waits WHERE stream_id = :stream_id AND clip = :clip AND rule_id IS NOT NULL
"""
CLIPS_OF_VIDEO = """
SELECT clip, file, state, waits, ended, dropped, error, file_bytes, rule_id, keep_number, part FROM clips
WHERE stream_id = :stream_id AND name = :name ORDER BY part, clip
"""
# The videos of a stream that replays another one show that one's episodes.
JUDGED_AS = """
SELECT streams.replays, origin.id FROM streams LEFT JOIN streams AS origin ON origin.stream = streams.replays
WHERE streams.id = :stream_id
"""
FACTS = """
SELECT return, length, tests, over, number, reason, rule_id, made FROM judged
WHERE stream_id = :stream_id AND name = :name
"""
JUDGED = """
UPDATE judged SET rule_id = :rule_id, number = :number, reason = :reason, fixed = :fixed
WHERE stream_id = :stream_id AND name = :name
"""
CHANGE_VERDICT = "UPDATE judged SET reason = :reason, fixed = :fixed WHERE rule_id = :rule_id AND number = :number"
CHANGE_FIXED = "UPDATE judged SET fixed = :fixed WHERE rule_id = :rule_id AND number = :number"
# The episode may have been kept and let go before: its video is made once more.
ADMIT = """
UPDATE judged SET reason = :reason, fixed = :fixed, made = 0 WHERE rule_id = :rule_id AND number = :number
"""
MADE = "UPDATE judged SET made = 1 WHERE rule_id = :rule_id AND number = :number"
# Episodes stay whose verdict a ranking may still change, or whose videos are still to be rendered.
FORGET_JUDGED = """
DELETE FROM judged WHERE rule_id = :rule_id AND number BETWEEN :first AND :number
    AND fixed IS NULL AND (reason IS NULL OR video IS NULL OR made)
"""
HISTORY = "SELECT return, length, tests FROM judged WHERE rule_id = :rule_id AND number >= 0 ORDER BY number"
UNDECIDED = """
SELECT DISTINCT name FROM clips WHERE stream_id = :stream_id AND rule_id IS NOT NULL AND waits IS NOT NULL
    AND state = 'recording'
"""

KEEP = """
UPDATE clips SET keep_number = :number, keep_reason = :reason, waits = NULL
WHERE stream_id = :stream_id AND clip = :clip
"""
SAY_REASON = "UPDATE clips SET keep_reason = :reason, waits = NULL WHERE stream_id = :stream_id AND clip = :clip"
FINAL_AFTER_ALL = "UPDATE clips SET state = :final WHERE stream_id = :stream_id AND clip = :clip"
# The file's name stays in the row until the file is removed.
EVICT = """
UPDATE clips SET state = :evicted, file = NULL, waits = :file, keep_reason = NULL,
    ended = ifnull(ended, (julianday('now') - 2440587.5) * 86400.0)
WHERE stream_id = :stream_id AND clip = :clip
"""
EVICTED = "SELECT waits, stream_id, clip FROM clips WHERE state = :evicted"
TAKEN = "SELECT 1 FROM clips WHERE file = :file AND state != :evicted"
UNNAMED = "SELECT 1 FROM clips WHERE file = :file AND rule_id IS NOT NULL AND state != :recording"
FORGET_CLIP = "DELETE FROM clips WHERE stream_id = :stream_id AND clip = :clip AND state = 'evicted'"

CHANGE_REASON = "UPDATE clips SET keep_reason = :reason WHERE rule_id = :rule_id AND keep_number = :number"
VIDEOS_OF_NUMBER = "SELECT DISTINCT stream_id, name FROM clips WHERE rule_id = :rule_id AND keep_number = :number"
HELD = "SELECT number, fixed FROM judged WHERE rule_id = :rule_id AND fixed IS NOT NULL"
OLDEST = """
SELECT DISTINCT keep_number FROM clips
WHERE rule_id = :rule_id AND keep_number IS NOT NULL AND state != :evicted ORDER BY keep_number LIMIT 2000
"""
BYTES = """
SELECT ifnull(sum(file_bytes), 0) FROM clips
WHERE rule_id = :rule_id AND keep_number IS NOT NULL AND state != :evicted
"""
