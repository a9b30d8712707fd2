-- Put a job whose worker is gone back in the queue, or postpone the look at one that waits there.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 ms until the next look
-- Answer: 1 when the job is queued and wants publishing, else 0
local state = redis.call('HMGET', KEYS[1], 'status', 'lease')
local now = now_ms()
if state[1] == 'in_progress' and tonumber(state[2]) <= now then
  redis.call('HSET', KEYS[1], 'status', 'queued')
  redis.call('HDEL', KEYS[1], 'fence', 'lease')
elseif state[1] ~= 'queued' then
  return 0
end
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
return 1
