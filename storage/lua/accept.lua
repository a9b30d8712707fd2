-- Take a job in, or say why not; nothing is stored unless the answer is 'accepted'. It stands in no line before it is
-- durable: see enter.lua.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 idempotency (any key where there is no body hash)
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 reservation in micros, 6 monthly budget in micros,
--       7 unfinished jobs allowed, 8 ms until the sweeper looks for its record, 9 hash of the request's body or '',
--       10 idempotency ttl s, 11 data of job.queued, 12 its line, 13 ms that it may take from its start, 14 ms (Unix)
--       when it is given up unless it has begun, or ''
-- Answer: {'accepted'} | {'repeat', job id} | {'conflict'} | {'draining'} | {'too_many'} | {'over_budget'}
local job_id, spec, question, at, reserved, budget, most_jobs, look_in_ms, body_hash, ttl_s, queued = unpack(ARGV, 1, 11)
local line, allowed, expires = unpack(ARGV, 12, 14)
local active, spend, idempotency = KEYS[3], KEYS[4], KEYS[5]

local repeated = check_repeat(idempotency, body_hash)
if repeated then
  return repeated
end
if is_draining() then
  return {'draining'}
end
if redis.call('ZCARD', active) >= tonumber(most_jobs) then
  return {'too_many'}
end
local month = redis.call('HMGET', spend, 'reserved', 'spent')
local committed = tonumber(month[1] or 0) + tonumber(month[2] or 0)
if committed + tonumber(reserved) > tonumber(budget) then
  return {'over_budget'}
end

local now = now_ms()
write_new(job_id, spec, question, reserved, now, line, allowed, expires)
append_event(job_id, 'job.queued', at, queued)
redis.call('ZADD', active, now, job_id)
redis.call('HINCRBY', spend, 'reserved', reserved)
redis.call('EXPIRE', spend, 62 * 24 * 3600)
redis.call('ZADD', WATCH, now + look_in_ms, job_id)
remember_repeat(idempotency, body_hash, job_id, ttl_s)
publish()
return {'accepted'}
