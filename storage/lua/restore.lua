-- Bring back an accepted, unfinished job from its durable record after Redis lost it, and put it into its line.
-- KEYS  1 job, 2 events, 3 active, 4 spend
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 reservation in micros, 6 data of job.queued, 7 its line, 8 ms that
--       it may take from its start, 9 ms (Unix) when it is given up unless it has begun, or '', 10 ms (Unix) when it
--       is to start, or 0, 11 ms (Unix) when it was taken in first
-- Answer: 'restored' | 'present' (the job is here after all) | 'withdrawn' (it was given up before its 202)
local job_id, spec, question, at, reserved, queued, line, allowed, expires, run_at, created = unpack(ARGV)
local active, spend, now = KEYS[3], KEYS[4], now_ms()

local state = redis.call('HMGET', KEYS[1], 'status', 'withdrawn')
if state[2] then
  return 'withdrawn'
end
if state[1] then
  return 'present'
end
-- What can fail comes first.
redis.call('HINCRBY', spend, 'reserved', reserved)
write_new(job_id, spec, question, reserved, tonumber(created), line, allowed, expires)
append_event(job_id, 'job.queued', at, queued)
redis.call('ZADD', active, now, job_id)
redis.call('EXPIRE', spend, 62 * 24 * 3600)
enter_new(job_id, tonumber(run_at), now)
publish()
return 'restored'
