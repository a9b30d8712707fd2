-- Take a job in, or say why not; nothing is stored unless the answer is 'accepted'.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch, 6 idempotency (ignored without a fingerprint)
-- ARGV  1 job id, 2 spec, 3 at (ISO), 4 reservation in micros, 5 monthly budget in micros,
--       6 concurrent jobs allowed, 7 ms until the sweeper looks, 8 fingerprint or '',
--       9 idempotency ttl s, 10 data of job.queued
-- Answer: {'accepted'} | {'repeat', job id} | {'conflict'} | {'too_many'} | {'over_budget'}
local verdict = check_repeat(KEYS[6], ARGV[8])
if verdict then
  return verdict
end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then
  return {'too_many'}
end
local spend = redis.call('HMGET', KEYS[4], 'reserved', 'spent')
local committed = tonumber(spend[1] or 0) + tonumber(spend[2] or 0)
if committed + tonumber(ARGV[4]) > tonumber(ARGV[5]) then
  return {'over_budget'}
end

local now = now_ms()
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'queued', 'attempt', 0, 'seq', 0,
  'reserved', ARGV[4], 'accepted', now)
append_event(ARGV[1], 'job.queued', ARGV[3], ARGV[10])
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('HINCRBY', KEYS[4], 'reserved', ARGV[4])
redis.call('EXPIRE', KEYS[4], 62 * 24 * 3600)
redis.call('ZADD', KEYS[5], now + ARGV[7], ARGV[1])
remember_repeat(KEYS[6], ARGV[8], ARGV[1], ARGV[9])
tell()
return {'accepted'}
