-- Put a job, or one slot of it, whose worker is gone back in the queue, or postpone the next look at one that waits
-- there.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 slot, 3 ms until the next look
-- Answer: 1 when it is queued and has to be published, else 0
local job_id, slot, look_in_ms = unpack(ARGV)
local dispatch, now = KEYS[3], now_ms()

local job_status = redis.call('HGET', KEYS[1], 'status')
if slot ~= '' and job_status ~= 'in_progress' then
  return 0
end
local own = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'lease'))
local state, lease = slot == '' and job_status or own[1], tonumber(own[2])
if (state == 'in_progress' or state == 'running') and lease and lease <= now then
  redis.call('HSET', KEYS[1], slot == '' and 'status' or field(slot, 'state'), 'queued')
  redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
elseif state ~= 'queued' then
  return 0
end
if slot ~= '' then
  redis.call('HSET', KEYS[1], 'outside_chord', 1)
end
redis.call('ZADD', dispatch, now + look_in_ms, entry(job_id, slot))
return 1
