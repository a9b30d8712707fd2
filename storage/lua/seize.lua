-- Take over a job that no live worker holds, to end it; not an attempt.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 fence, 3 lease ms
-- Answer: what the job has used before (JSON) or '', or nil when the job has ended or a worker's lease on it or on a slot is alive
local state = redis.call('HMGET', KEYS[1], 'status', 'lease')
local now = now_ms()
local is_held = tonumber(state[2] or 0) > now or count_running(now) > 0
if state[1] ~= 'queued' and (state[1] ~= 'in_progress' or is_held) then
  return nil
end
close_slots(ARGV[1], 3)
redis.call('HSET', KEYS[1], 'status', 'in_progress', 'fence', ARGV[2], 'lease', now + ARGV[3])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
return redis.call('HGET', KEYS[1], 'used') or ''
