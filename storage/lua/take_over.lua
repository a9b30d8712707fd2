-- Take over a job that no live worker holds, to end it; not an attempt.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 job id, 2 fence, 3 lease ms
-- Answer: {spec, question or nil}, or nil when the job has ended or a worker's lease on it or on a slot is alive
local job_id, fence, lease_ms = unpack(ARGV)
local now = now_ms()

local state = redis.call('HMGET', KEYS[1], 'status', 'lease', 'spec', 'question')
local status, lease = state[1], tonumber(state[2] or 0)
local is_held = lease > now or count_running(now) > 0
if status ~= 'queued' and (status ~= 'in_progress' or is_held) then
  return nil
end
close_slots(job_id)
leave_line(job_id, '')
stop_running(job_id, '', false)
redis.call('HSET', KEYS[1], 'status', 'in_progress', 'fence', fence, 'lease', now + lease_ms)
redis.call('HDEL', KEYS[1], 'parked')
redis.call('ZADD', WATCH, now + lease_ms, job_id)
redis.call('ZREM', EXPIRING, job_id)
return {state[3], state[4]}
