-- Bring back an accepted, unfinished job from its durable record after Redis lost it.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 reservation in micros, 6 data of job.queued
-- Answer: 'restored' | 'present' (the job is here after all) | 'withdrawn' (it was given up before its 202)
local job_id, spec, question, at, reserved, queued = unpack(ARGV)
local active, spend, dispatch, now = KEYS[3], KEYS[4], KEYS[5], now_ms()

local state = redis.call('HMGET', KEYS[1], 'status', 'withdrawn')
-- The version before wrote the status 'undone' instead of the field.
if state[2] or state[1] == 'undone' then
  return 'withdrawn'
end
if state[1] then
  return 'present'
end
-- What can fail comes first.
redis.call('HINCRBY', spend, 'reserved', reserved)
redis.call('HSET', KEYS[1], 'spec', spec, 'question', question, 'status', 'queued', 'attempt', 0, 'seq', 0,
  'reserved', reserved, 'accepted', now)
append_event(job_id, 'job.queued', at, queued)
redis.call('ZADD', active, now, job_id)
redis.call('EXPIRE', spend, 62 * 24 * 3600)
redis.call('ZADD', dispatch, now, job_id)
publish()
return 'restored'
