-- Give a job to a worker: a new attempt with a new fence and a lease. One that was parked goes on with the attempt that
-- parked it, so it begins without an event.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 fence, 3 lease ms, 4 at (ISO), 5 most attempts, 6 data of job.started and 7 of job.retrying, both
--       with the attempt 0
-- Answer: {spec, question or nil, attempt, accepted ms, 1 if it was parked else 0}, or nil when there is nothing to do: the job is unknown, ended,
--         cancelled, out of attempts, not to be begun while the stack drains, with its team, or another worker's lease is alive
local job_id, fence, lease_ms, at, most_attempts, started, retrying = unpack(ARGV)
local dispatch, now = KEYS[3], now_ms()

local state = redis.call('HMGET', KEYS[1], 'status', 'attempt', 'lease', 'cancel', 'parked', 'spec', 'question',
  'accepted')
local status, attempt, lease, cancel, parked = state[1], tonumber(state[2] or 0), tonumber(state[3]), state[4], state[5]
local is_free = status == 'queued' or (status == 'in_progress' and lease and lease <= now)
if not is_free or cancel or is_draining() or attempt >= tonumber(most_attempts) then
  return nil
end
attempt, lease = attempt + 1, now + lease_ms
redis.call('HSET', KEYS[1], 'status', 'in_progress', 'attempt', attempt, 'fence', fence, 'lease', lease, 'batch', 0)
redis.call('HSETNX', KEYS[1], 'started', now)
redis.call('ZADD', dispatch, lease, job_id)
if parked then
  redis.call('HDEL', KEYS[1], 'parked')
else
  if attempt > 1 then
    append_event(job_id, 'job.retrying', at, with_attempt(retrying, attempt))
  end
  append_event(job_id, 'job.started', at, with_attempt(started, attempt))
  publish()
end
return {state[6], state[7], attempt, tonumber(state[8]), parked and 1 or 0}
