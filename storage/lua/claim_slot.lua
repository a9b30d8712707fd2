-- Give one slot of a job to a worker: a new attempt with a new fence and a lease.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms, 5 at (ISO), 6 most attempts, 7 data of job.retrying with the attempt 0,
--       or '' to append no event
-- Answer: {'claimed', spec, question or nil, plan, attempt, queued ms, deadline ms, accepted ms, started ms}
--         | {'held'} (a live worker has it, or its turn has not come) | {'done'} | {'over'} (the job has ended or is to
--         end, or the slot is out of attempts)
local job_id, slot, fence, lease_ms, at, most_attempts, retrying = unpack(ARGV)
local dispatch, now = KEYS[3], now_ms()

local job = redis.call('HMGET', KEYS[1], 'status', 'cancel', 'spec', 'question', 'team', 'accepted', 'started')
local own = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'attempt'), field(slot, 'lease'),
  field(slot, 'left'), field(slot, 'queued'), field(slot, 'deadline'))
local state, attempt, lease, left = own[1], tonumber(own[2] or 0), tonumber(own[3] or 0), tonumber(own[4] or 0)
if job[1] ~= 'in_progress' or job[2] or not state then
  return {'over'}
end
if state == 'done' then
  return {'done'}
end
if left > 0 or (state == 'running' and lease > now) then
  return {'held'}
end
attempt, lease = attempt + 1, now + lease_ms
if attempt > tonumber(most_attempts) then
  return {'over'}
end
redis.call('HSET', KEYS[1], field(slot, 'state'), 'running', field(slot, 'attempt'), attempt,
  field(slot, 'fence'), fence, field(slot, 'lease'), lease, field(slot, 'batch'), 0)
redis.call('ZADD', dispatch, lease, entry(job_id, slot))
if attempt > 1 and retrying ~= '' then
  append_event(job_id, 'job.retrying', at, with_attempt(retrying, attempt))
  publish()
end
return {'claimed', job[3], job[4], job[5], attempt, tonumber(own[5] or 0), tonumber(own[6] or 0), tonumber(job[6]),
  tonumber(job[7])}
