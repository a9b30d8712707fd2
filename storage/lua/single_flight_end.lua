-- Stop leading, leave a note for jobs that enter later, and make the parked jobs due for the sweeper.
-- KEYS  1 leader, 2 parked, 3 note; and the dispatch index of each parked job's shard, which only the script knows
-- ARGV  1 job id, 2 note or '', 3 for how long it is kept, ms, 4 name of a dispatch index, with %s for the shard,
--       5 '1' if the note is for jobs that were parked only, else '0'
-- Answer: the parked jobs that still wait, oldest first; none when the job does not lead
local job_id, note, note_ms, dispatch_name, parked_only = unpack(ARGV)
local leader_key, parked_key, note_key = KEYS[1], KEYS[2], KEYS[3]

if redis.call('GET', leader_key) ~= job_id then
  return {}
end
local parked, released, now = redis.call('ZRANGE', parked_key, 0, -1), {}, now_ms()
for _, id in ipairs(parked) do
  -- A job's shard is its id's fifth letter; see core/ids.py.
  local dispatch = string.format(dispatch_name, string.sub(id, 5, 5))
  if redis.call('ZSCORE', dispatch, id) then
    redis.call('ZADD', dispatch, now, id)
    released[#released + 1] = id
  end
end
redis.call('DEL', leader_key, parked_key)
if note ~= '' then
  redis.call('HSET', note_key, 'note', note, 'parked_only', parked_only)
  redis.call('PEXPIRE', note_key, note_ms)
end
return released
