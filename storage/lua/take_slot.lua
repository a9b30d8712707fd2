-- Take a slot that nobody will work on any more, to report in its worker's place; not counted as running.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms
-- Answer: {'claimed', spec, question or nil, plan, attempt, queued ms, deadline ms, accepted ms, started ms}
--         | {'held'} (a live worker has it, or its turn has not come) | {'over'} (it is done, or the job has ended or is
--         to end)
local job_id, slot, fence, lease_ms = unpack(ARGV)
local now = now_ms()

local job = redis.call('HMGET', KEYS[1], 'status', 'cancel', 'spec', 'question', 'team', 'accepted', 'started',
  'deadline')
local own = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'attempt'), field(slot, 'lease'),
  field(slot, 'left'), field(slot, 'queued'), field(slot, 'deadline'))
local state, attempt, lease, left = own[1], tonumber(own[2] or 0) + 1, tonumber(own[3] or 0), tonumber(own[4] or 0)
if job[1] ~= 'in_progress' or job[2] or not state or state == 'done' then
  return {'over'}
end
if left > 0 or (state == 'running' and lease > now) then
  return {'held'}
end
leave_line(job_id, slot)
stop_running(job_id, slot, false)
redis.call('HSET', KEYS[1], field(slot, 'state'), 'running', field(slot, 'attempt'), attempt,
  field(slot, 'fence'), fence, field(slot, 'lease'), now + lease_ms, field(slot, 'batch'), 0)
redis.call('ZADD', WATCH, now + lease_ms, unit_of(job_id, slot))
return {'claimed', job[3], job[4], job[5], attempt, tonumber(own[5] or 0), tonumber(own[6] or job[8] or 0),
  tonumber(job[6]), tonumber(job[7] or 0)}
