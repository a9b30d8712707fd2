-- Stop leading, leave a note for jobs that enter later, and put the parked jobs back into their lines: the first ones at
-- once, the rest as work whose time has come, so that no crowd makes Redis stop for long.
-- KEYS  1 leader, 2 parked, 3 note
-- ARGV  1 job id, 2 note or '', 3 for how long it is kept, ms, 4 '1' if the note is for jobs that were parked only, else
--       '0'
-- Answer: {parked jobs that were released, how many of them have to be woken by messages}; {0, 0} when the job does not
--         lead
local job_id, note, note_ms, parked_only = unpack(ARGV)
local AT_ONCE = 500
local leader_key, parked_key, note_key = KEYS[1], KEYS[2], KEYS[3]

if redis.call('GET', leader_key) ~= job_id then
  return { 0, 0 }
end
local parked, released, entered = redis.call('ZRANGE', parked_key, 0, -1), 0, 0
redis.call('DEL', leader_key, parked_key)
if note ~= '' then
  redis.call('HSET', note_key, 'note', note, 'parked_only', parked_only)
  redis.call('PEXPIRE', note_key, note_ms)
end
for _, id in ipairs(parked) do
  if redis.call('ZSCORE', DEFERRED, id) then
    released = released + 1
    if entered < AT_ONCE then
      redis.call('ZREM', DEFERRED, id)
      turn_to(id)
      enter_begun(id, '', '')
      entered = entered + 1
    else
      redis.call('ZADD', DEFERRED, now_ms(), id)
    end
  end
end
return { released, wake(entered) }
