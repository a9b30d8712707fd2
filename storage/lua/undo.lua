-- Forget a job that never became durable; does nothing once a worker has claimed it. What stays for a
-- day is the status 'undone', so that a record which was written after all is not brought back.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch, 6 idempotency (the job's key where it had none)
-- ARGV  1 job id
-- Answer: 1 when forgotten, else 0
local state = redis.call('HMGET', KEYS[1], 'status', 'attempt', 'reserved')
if state[1] ~= 'queued' or state[2] ~= '0' then
  return 0
end
redis.call('HINCRBY', KEYS[4], 'reserved', 0 - tonumber(state[3]))
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[6])
redis.call('HSET', KEYS[1], 'status', 'undone')
redis.call('EXPIRE', KEYS[1], 24 * 3600)
return 1
