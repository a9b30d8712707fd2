-- Keep a lease alive.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms
-- Answer: 'held' | 'cancelled' (held, and a cancel was asked for) | 'lost'
local job_id, slot, fence, lease_ms = unpack(ARGV)

if not holds(slot, fence) then
  return 'lost'
end
local lease = now_ms() + lease_ms
redis.call('HSET', KEYS[1], field(slot, 'lease'), lease)
redis.call('ZADD', WATCH, lease, unit_of(job_id, slot))
-- A take-over, which ends the job, counts as nobody's work.
redis.call('ZADD', running_key(line_of_job().user), 'XX', lease, unit_of(job_id, slot))
return is_cancelled() and 'cancelled' or 'held'
