-- Keep a lease alive.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms
-- Answer: 'held' | 'cancelled' (held, and a cancel was asked for) | 'lost'
local job_id, slot, fence, lease_ms = unpack(ARGV)
local dispatch = KEYS[3]

if not holds(slot, fence) then
  return 'lost'
end
local lease = now_ms() + lease_ms
redis.call('HSET', KEYS[1], field(slot, 'lease'), lease)
redis.call('ZADD', dispatch, lease, entry(job_id, slot))
return is_cancelled() and 'cancelled' or 'held'
