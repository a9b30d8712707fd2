-- Bring back an accepted, unfinished job from its durable record after Redis lost it.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch
-- ARGV  1 job id, 2 spec, 3 at (ISO), 4 reservation in micros
-- Answer: 'restored' | 'present' (the job is here after all) | 'undone' (it was given up before its 202)
local status = redis.call('HGET', KEYS[1], 'status')
if status then
  return status == 'undone' and 'undone' or 'present'
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'queued', 'attempt', 0, 'seq', 0,
  'reserved', ARGV[4], 'accepted', now)
append_event(ARGV[1], 'job.queued', ARGV[3], '{"restored":true}')
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('HINCRBY', KEYS[4], 'reserved', ARGV[4])
redis.call('EXPIRE', KEYS[4], 62 * 24 * 3600)
redis.call('ZADD', KEYS[5], now, ARGV[1])
tell()
return 'restored'
