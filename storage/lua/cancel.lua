-- Mark a job as to be cancelled, nudge the workers, and make it due for the sweeper where no worker can end it.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 job id, 2 channel of the nudge
-- Answer: the job's status as it is, or nil when there is no such job; an ended job is not marked
local job_id, channel = unpack(ARGV)

local state = redis.call('HMGET', KEYS[1], 'status', 'spec')
local status, is_known = state[1], state[2]
if not is_known then
  return nil
end
if status == 'queued' or status == 'in_progress' then
  redis.call('HSETNX', KEYS[1], 'cancel', now_ms())
  redis.call('PUBLISH', channel, job_id)
  if status == 'queued' or redis.call('HEXISTS', KEYS[1], 'slots') == 1 then
    redis.call('ZADD', WATCH, now_ms(), job_id)
  end
end
return status
